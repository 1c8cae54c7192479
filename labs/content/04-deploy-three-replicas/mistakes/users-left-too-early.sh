#!/bin/sh
# The traffic ends while the node is still off.
set -eu
devops-lab traffic start
sleep 1
devops-lab node stop node-2
sleep 3
devops-lab traffic stop
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
devops-lab node start node-2
kubectl wait --for=condition=Ready node/node-2 --timeout=60s
