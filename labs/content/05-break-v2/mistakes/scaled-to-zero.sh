#!/bin/sh
# No pods, no errors, no service.
set -eu
kubectl scale deployment/hello --replicas=0
kubectl rollout status deployment/hello --timeout=60s
