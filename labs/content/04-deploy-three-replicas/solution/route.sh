#!/bin/sh
# Run beside the directory `hello`.
set -eu
kubectl apply -f hello/k8s/route.yaml
# The check waits for the load balancer, which takes the route up within a moment.
