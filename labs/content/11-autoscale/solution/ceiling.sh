#!/bin/sh
# More work than six copies do.
set -eu
kubectl apply -f autoscale/hpa.yaml
devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 40 --path '/tile?size=64&iterations=500'
devops-lab answer --step autoscale/ceiling limited 2
devops-lab answer --step autoscale/ceiling helps 2
kubectl wait hpa/mandelbrot --for=condition=ScalingLimited --timeout=150s
