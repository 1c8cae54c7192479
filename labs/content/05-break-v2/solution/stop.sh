#!/bin/sh
# Back to the revision before, with the users still there to tell.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 20
kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl scale deployment/hello --replicas=3
kubectl rollout status deployment/hello --timeout=60s
sleep 2
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
# Long enough to see that they are well.
sleep 8
