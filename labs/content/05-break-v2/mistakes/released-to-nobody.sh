#!/bin/sh
# Released, green, and nobody called it: no one can know.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl rollout status deployment/hello --timeout=60s
