#!/bin/sh
# Run beside the directory `hello`, with the variables of `devops-lab env`.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# One replica short.
sed -e "s|image: .*|image: $registry/hello:1.0.0|" -e "s/replicas: 3/replicas: 2/" hello/k8s/deployment.yaml |
    kubectl apply -f -
