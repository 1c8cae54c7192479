#!/bin/sh
# Six in all, two on each node.
set -eu
kubectl scale deployment/hello --replicas=6
kubectl rollout status deployment/hello --timeout=60s
