#!/bin/sh
# A node goes and comes back, and there are no users.
set -eu
devops-lab node stop node-2
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
devops-lab node start node-2
kubectl wait --for=condition=Ready node/node-2 --timeout=60s
