#!/bin/sh
# A node is switched off; after up to fifty seconds of silence the cluster says so.
set -eu
kubectl patch node/node-2 -p '{"spec":{"unschedulable":null}}'
devops-lab node stop node-2
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
