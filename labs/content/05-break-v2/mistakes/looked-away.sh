#!/bin/sh
# Rolled back, and the traffic ended with it: nobody saw that users are well again.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl scale deployment/hello --replicas=3
kubectl rollout status deployment/hello --timeout=60s
devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 20
sleep 2
devops-lab traffic stop
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
