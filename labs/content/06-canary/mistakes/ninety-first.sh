#!/bin/sh
# The share of the old version where that of the new one is asked for.
set -eu
kubectl apply -f canary/errors.yaml
sed -e 's/#~//' -e 's/setWeight: 10/setWeight: 90/' canary/rollout.yaml | kubectl apply -f -
