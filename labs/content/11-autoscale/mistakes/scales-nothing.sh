#!/bin/sh
# A typing error in the name of what is to be scaled.
set -eu
sed -e '/^  replicas:/d' -e 's/^\( *\)cpu: .*/\1cpu: 50m/' mandelbrot/k8s/deployment.yaml | kubectl apply -f -
sed '/kind: Deployment/{n;s/mandelbrot/mandelbort/;}' autoscale/hpa.yaml | kubectl apply -f -
