#!/bin/sh
# Five minutes of patience, and then all at once.
set -eu
sed 's/stabilizationWindowSeconds: 60/stabilizationWindowSeconds: 300/' autoscale/hpa.yaml | kubectl apply -f -
