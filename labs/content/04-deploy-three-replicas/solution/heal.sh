#!/bin/sh
set -eu
pod=$(kubectl get pods -l app=hello -o jsonpath="{.items[0].metadata.name}")
kubectl delete pod "$pod"
kubectl rollout status deployment/hello --timeout=60s
