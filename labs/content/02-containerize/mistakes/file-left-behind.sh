#!/bin/sh
# Only app.js is in the image, and it imports sayings.js.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf 'FROM devops-lab/runtime:1\nCOPY app.js /app/\n' > sayings/Dockerfile
devops-lab image build -t "$registry/sayings:dev" --push sayings
sed "s|image: .*|image: $registry/sayings:dev|" sayings/pod.yaml | kubectl apply -f -
