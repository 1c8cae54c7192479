#!/bin/sh
# Nobody noticed, and nobody switched it on again.
set -eu
devops-lab traffic start
sleep 1
devops-lab node stop node-2
kubectl wait --for=condition=Ready=Unknown node/node-2 --timeout=120s
