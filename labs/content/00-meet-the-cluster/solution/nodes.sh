#!/bin/sh
# Every node there, switched on, and open for pods.
set -eu
devops-lab start 3
for node in $(kubectl get nodes -o name); do
    kubectl patch "$node" -p '{"spec":{"unschedulable":null}}'
done
kubectl wait --for=condition=Ready node/node-1 node/node-2 node/node-3 --timeout=60s
kubectl rollout status deployment/hello --timeout=60s
