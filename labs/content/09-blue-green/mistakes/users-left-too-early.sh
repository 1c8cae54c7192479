#!/bin/sh
# The traffic ends before the promotion.
set -eu
devops-lab traffic stop || true
devops-lab rollout promote hello
devops-lab rollout status hello
