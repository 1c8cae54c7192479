#!/bin/sh
# The traffic ends before the promotion.
set -eu
devops-lab traffic stop || true
devops-lab rollout retry hello
kubectl wait --for=jsonpath='{.status.phase}'=Paused rollout/hello --timeout=60s
devops-lab rollout promote hello
devops-lab rollout status hello
