#!/bin/sh
# The number that was asked for, set by hand.
set -eu
kubectl scale deployment/mandelbrot --replicas=5
kubectl rollout status deployment/mandelbrot --timeout=60s
