#!/bin/sh
# The number goes into the file, and the file into the cluster.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed -i 's/replicas: .*/replicas: 6/' hello/k8s/deployment.yaml
sed "s|image: .*|image: $registry/hello:1.0.0|" hello/k8s/deployment.yaml | kubectl apply -f -
kubectl rollout status deployment/hello --timeout=60s
