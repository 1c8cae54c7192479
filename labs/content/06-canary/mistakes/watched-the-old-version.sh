#!/bin/sh
# An alarm on the version that is known to work.
set -eu
kubectl apply -f canary/errors.yaml
sed -e 's/#~//' -e 's/podTemplateHashValue: Latest/podTemplateHashValue: Stable/' canary/rollout.yaml |
    kubectl apply -f -
