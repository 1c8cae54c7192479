#!/bin/sh
# Five copies, of an image that nobody pushed.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
kubectl set image deployment/hello "hello=$registry/hello:latest"
kubectl scale deployment/hello --replicas=5
