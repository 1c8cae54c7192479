#!/bin/sh
# A node goes and comes back while users are there.
set -eu
devops-lab start 3
for node in $(kubectl get nodes -o name); do
    kubectl patch "$node" -p '{"spec":{"unschedulable":null}}'
done
kubectl rollout status deployment/hello --timeout=60s
devops-lab traffic stop || true
sleep 1
devops-lab traffic start
sleep 2
devops-lab node stop node-2
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
devops-lab node start node-2
kubectl wait --for=condition=Ready node/node-2 --timeout=60s
kubectl rollout status deployment/hello --timeout=60s
sleep 6
devops-lab traffic stop
