#!/bin/sh
# Quicker than the alarm, and so the alarm was never proved.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 50
devops-lab rollout set image hello "hello=$registry/hello:2.0.0"
kubectl wait rollout/hello --for=jsonpath='{.status.phase}'=Paused --timeout=60s
devops-lab rollout abort hello
sleep 1
