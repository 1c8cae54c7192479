#!/bin/sh
# Users first, then the release.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 20
kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl rollout status deployment/hello --timeout=60s
sleep 3
