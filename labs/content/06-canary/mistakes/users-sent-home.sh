#!/bin/sh
# The traffic ends, and only then the rollout.
set -eu
devops-lab rollout retry hello > /dev/null 2>&1 || true
devops-lab traffic stop
devops-lab rollout promote hello --full
devops-lab rollout status hello --timeout 120
