#!/bin/sh
# Pushed is not released: users go on meeting the old version.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

kubectl set image deployment/hello "hello=$registry/hello:1.0.0"
kubectl rollout status deployment/hello --timeout=60s
devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 20
