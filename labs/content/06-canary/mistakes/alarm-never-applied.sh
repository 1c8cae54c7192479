#!/bin/sh
# The Rollout names an alarm that does not exist.
set -eu
sed 's/#~//' canary/rollout.yaml | kubectl apply -f -
