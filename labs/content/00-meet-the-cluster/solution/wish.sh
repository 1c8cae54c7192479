#!/bin/sh
# Brings the Deployment back where it was deleted, and asks for five copies.
set -eu
kubectl apply -f hello/k8s/deployment.yaml
kubectl scale deployment/hello --replicas=5
kubectl rollout status deployment/hello --timeout=60s
