#!/bin/sh
# The way of a new version, and the alarm that watches it.
set -eu
sed 's/#~//' canary/rollout.yaml > canary/rollout.yaml.new
mv canary/rollout.yaml.new canary/rollout.yaml
kubectl apply -f canary/errors.yaml -f canary/rollout.yaml
