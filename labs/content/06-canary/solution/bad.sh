#!/bin/sh
# 2.0.0 for one request in ten, until the alarm rings.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 50
# From the stable version on, whatever was tried before.
devops-lab rollout set image hello "hello=$registry/hello:1.0.0"
devops-lab rollout status hello --timeout 60
devops-lab rollout set image hello "hello=$registry/hello:2.0.0"
# Ends with a word about the abort.
devops-lab rollout status hello --timeout 150 || true
