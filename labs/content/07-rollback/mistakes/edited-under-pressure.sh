#!/bin/sh
# By hand, and with one more change while one is at it.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl rollout status deployment/hello --timeout=60s
sed -e "s|image: .*|image: $registry/hello:2.0.1|" -e 's/cpu: 50m/cpu: 60m/' hello/k8s/deployment.yaml |
    kubectl apply -f -
kubectl rollout status deployment/hello --timeout=60s
