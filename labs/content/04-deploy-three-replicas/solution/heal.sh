#!/bin/sh
# Deletes one pod that is not on its way out already.
set -eu
pod=$(kubectl get pods -l app=hello | grep ' Running ' | head -n 1 | cut -d ' ' -f 1)
kubectl delete pod "$pod"
kubectl rollout status deployment/hello --timeout=60s
