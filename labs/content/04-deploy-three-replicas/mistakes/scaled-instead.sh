#!/bin/sh
# A pod that goes because fewer were asked for is no loss.
set -eu
kubectl scale deployment/hello --replicas=2
kubectl scale deployment/hello --replicas=3
kubectl rollout status deployment/hello --timeout=60s
