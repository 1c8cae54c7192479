#!/bin/sh
# Promoted, and not a single look at it.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
sed -i 's/VERSION = .*/VERSION = "2.1.0";/' hello/app.js
devops-lab image build -t "$registry/hello:2.1.0" --push hello
devops-lab rollout set image hello "hello=$registry/hello:2.1.0"
kubectl wait --for=jsonpath='{.status.phase}'=Paused rollout/hello --timeout=60s
devops-lab rollout promote hello
devops-lab rollout status hello
