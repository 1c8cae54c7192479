#!/bin/sh
# The Rollout is there, and nobody is led to it.
set -eu
kubectl apply -f blue-green/rollout.yaml
devops-lab rollout status hello
