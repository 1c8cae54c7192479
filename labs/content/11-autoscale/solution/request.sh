#!/bin/sh
# A request to reckon with, and the number of copies left to the autoscaler.
set -eu
sed -e '/^  replicas:/d' -e 's/^\( *\)cpu: .*/\1cpu: 50m/' mandelbrot/k8s/deployment.yaml > mandelbrot/k8s/deployment.yaml.new
mv mandelbrot/k8s/deployment.yaml.new mandelbrot/k8s/deployment.yaml
kubectl apply -f mandelbrot/k8s/deployment.yaml -f autoscale/hpa.yaml
kubectl rollout status deployment/mandelbrot --timeout=120s
kubectl wait hpa/mandelbrot --for=condition=ScalingActive --timeout=120s
