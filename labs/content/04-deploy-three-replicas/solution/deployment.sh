#!/bin/sh
# Run beside the directory `hello`, with the variables of `devops-lab env`.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed "s|image: .*|image: $registry/hello:1.0.0|" hello/k8s/deployment.yaml | kubectl apply -f -
kubectl rollout status deployment/hello --timeout=60s
