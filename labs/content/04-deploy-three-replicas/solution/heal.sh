#!/bin/sh
# Deletes one pod that is not on its way out already.
set -eu
pod=$(kubectl get pods -l app=hello -o go-template='{{range .items}}{{if not .metadata.deletionTimestamp}}{{.metadata.name}}{{"\n"}}{{end}}{{end}}' | head -n 1)
kubectl delete pod "$pod"
kubectl rollout status deployment/hello --timeout=60s
