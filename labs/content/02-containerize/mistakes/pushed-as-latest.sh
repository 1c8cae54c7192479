#!/bin/sh
# Another tag than the one that is asked for.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf 'FROM devops-lab/runtime:1\nCOPY app.js /app/\n' > sayings/Dockerfile
devops-lab image build -t "$registry/sayings:latest" --push sayings
