#!/bin/sh
# The mended version under a tag of its own, to the step at which it waits.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/2.0.1/* hello/
devops-lab app test hello/app.test.js
devops-lab image build -t "$registry/hello:2.0.1" --push hello
# An update is counted from the whole second in which it began: not the one in which the last user
# met the bad version.
sleep 1
devops-lab rollout set image hello "hello=$registry/hello:2.0.1"
kubectl wait rollout/hello --for=jsonpath='{.status.currentStepIndex}'=3 --timeout=200s
kubectl wait rollout/hello --for=jsonpath='{.status.phase}'=Paused --timeout=60s
