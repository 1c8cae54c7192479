#!/bin/sh
# Run beside the directory `hello`.
set -eu
kubectl apply -f hello/k8s/service.yaml
