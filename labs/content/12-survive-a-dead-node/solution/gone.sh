#!/bin/sh
# A new machine for the lost one, and the pods spread anew.
set -eu
devops-lab node remove node-2 || true
devops-lab start 3
kubectl wait --for=condition=Ready node/node-1 node/node-2 node/node-3 --timeout=60s
kubectl rollout restart deployment/hello
kubectl rollout status deployment/hello --timeout=60s
devops-lab answer where 2
