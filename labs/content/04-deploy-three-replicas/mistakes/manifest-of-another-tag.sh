#!/bin/sh
# Run beside the directory `hello`, with the variables of `devops-lab env`.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# The manifest asks for a tag that nobody pushed.
sed "s|image: .*|image: $registry/hello:1.0.1|" hello/k8s/deployment.yaml | kubectl apply -f -
