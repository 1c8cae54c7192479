#!/bin/sh
# A node goes and comes back while users are there.
set -eu
devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start
sleep 2
devops-lab node stop node-2
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
devops-lab node start node-2
kubectl wait --for=condition=Ready node/node-2 --timeout=60s
kubectl rollout status deployment/hello --timeout=60s
sleep 6
devops-lab traffic stop
