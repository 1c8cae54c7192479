#!/bin/sh
# A commit of which there is no image.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
kubectl delete pod sayings --ignore-not-found
sed "s|image: .*|image: $registry/sayings:0123abc|" sayings/pod.yaml | kubectl apply -f -
