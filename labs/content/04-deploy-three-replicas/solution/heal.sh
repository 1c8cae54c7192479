#!/bin/sh
# Deletes one pod of the deployment; another takes its place.
set -eu
pod=$(kubectl get pods -l app=hello -o name | head -n 1)
kubectl delete "$pod"
kubectl rollout status deployment/hello --timeout=60s
