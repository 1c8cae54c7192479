#!/bin/sh
# Slow in both directions: users wait, too.
set -eu
sed -e 's/stabilizationWindowSeconds: 0/stabilizationWindowSeconds: 300/' -e 's/stabilizationWindowSeconds: 60/stabilizationWindowSeconds: 300/' autoscale/hpa.yaml |
    kubectl apply -f -
