#!/bin/sh
# A bad release under traffic, and back within a minute.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
kubectl set image deployment/hello "hello=$registry/hello:2.0.1"
kubectl rollout status deployment/hello --timeout=60s

devops-lab traffic start --rate 20
kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl rollout status deployment/hello --timeout=60s
sleep 2
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
# Long enough to see that users are well.
sleep 8
