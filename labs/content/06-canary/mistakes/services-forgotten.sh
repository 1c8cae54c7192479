#!/bin/sh
# The Rollout without the Services and the route that it steers.
set -eu
kubectl apply -f canary/rollout.yaml
sleep 1
