#!/bin/sh
# Version 2.1.0 beside 2.0.1, with users from before.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed -i "s/VERSION = .*/VERSION = \"2.1.0\";/" hello/app.js
devops-lab image build -t "$registry/hello:2.1.0" --push hello
# Where users have 2.1.0 already, back first: at once while the old pods are there, else by way of
# a pause. Then wait until the pods of 2.1.0 are gone, or the next update would go at once too.
devops-lab rollout set image hello "hello=$registry/hello:2.0.1"
sleep 2
devops-lab rollout promote hello || true
devops-lab rollout status hello
sleep 13
devops-lab traffic stop || true
devops-lab traffic start
sleep 2
devops-lab rollout set image hello "hello=$registry/hello:2.1.0"
kubectl wait --for=jsonpath='{.status.phase}'=Paused rollout/hello --timeout=60s
