#!/bin/sh
# An alarm that acts, and a release that it takes back.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed 's/#~//' rollback/alarm.yaml > rollback/alarm.yaml.new
mv rollback/alarm.yaml.new rollback/alarm.yaml
kubectl apply -f rollback/rollout.yaml -f rollback/alarm.yaml
devops-lab rollout status hello --timeout 60
kubectl delete deployment hello > /dev/null 2>&1 || true

devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 50
devops-lab rollout set image hello "hello=$registry/hello:2.0.0"
# Ends with a word about the abort.
devops-lab rollout status hello --timeout 150 || true
