#!/bin/sh
# Three nodes, and version 1.0.0 in three copies behind the load balancer.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab start 3
devops-lab image build -t "$registry/hello:1.0.0" --push hello
for manifest in deployment service route; do
    kubectl apply -f "hello/k8s/$manifest.yaml"
done
kubectl rollout status deployment/hello --timeout=60s
