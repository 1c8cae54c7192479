#!/bin/sh
# The Rollout is there, and the Deployment still is.
set -eu
kubectl apply -f canary/services.yaml -f canary/rollout.yaml
devops-lab rollout status hello --timeout 60
