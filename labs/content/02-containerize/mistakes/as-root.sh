#!/bin/sh
# The image would run as root, and the cluster says no.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf 'FROM devops-lab/runtime:1\nCOPY . /app/\nUSER root\n' > sayings/Dockerfile
devops-lab image build -t "$registry/sayings:dev" --push sayings
kubectl delete pod sayings --ignore-not-found
sed "s|image: .*|image: $registry/sayings:dev|" sayings/pod.yaml | kubectl apply -f -
