#!/bin/sh
# An autoscaler that has nothing to reckon with.
set -eu
kubectl apply -f autoscale/hpa.yaml
