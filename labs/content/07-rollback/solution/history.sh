#!/bin/sh
# The next revision, and why.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# Only needed where the history was lost.
kubectl set image deployment/hello "hello=$registry/hello:1.0.0"
kubectl rollout status deployment/hello --timeout=60s

kubectl set image deployment/hello "hello=$registry/hello:2.0.1"
kubectl annotate deployment/hello kubernetes.io/change-cause="2.0.1: five languages" --overwrite
kubectl rollout status deployment/hello --timeout=60s
kubectl rollout history deployment/hello
