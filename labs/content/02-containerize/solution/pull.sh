#!/bin/sh
# The pod runs the image of the commit.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
commit=$(git -C sayings rev-parse --short HEAD)

kubectl delete pod sayings --ignore-not-found
sed "s|image: .*|image: $registry/sayings:$commit|" sayings/pod.yaml | kubectl apply -f -
kubectl wait --for=condition=Ready pod/sayings --timeout=60s
