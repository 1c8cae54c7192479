#!/bin/sh
# Back to something that is known to work, but not to what ran before.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

kubectl set image deployment/hello "hello=$registry/hello:1.0.0"
kubectl rollout status deployment/hello --timeout=60s
