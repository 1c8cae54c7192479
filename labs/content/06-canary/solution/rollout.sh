#!/bin/sh
# New before old: the Rollout takes over, then the Deployment goes.
set -eu
kubectl apply -f canary/services.yaml -f canary/rollout.yaml
devops-lab rollout status hello --timeout 60
kubectl delete deployment hello > /dev/null 2>&1 || true
