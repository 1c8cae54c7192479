#!/bin/sh
# Twice for good measure: the second undo takes back the first.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

kubectl set image deployment/hello "hello=$registry/hello:2.0.0"
kubectl rollout status deployment/hello --timeout=60s
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
