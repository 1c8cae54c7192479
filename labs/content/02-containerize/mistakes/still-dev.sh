#!/bin/sh
# The pod of before, with the tag of before.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
kubectl delete pod sayings --ignore-not-found
sed "s|image: .*|image: $registry/sayings:dev|" sayings/pod.yaml | kubectl apply -f -
kubectl wait --for=condition=Ready pod/sayings --timeout=60s
