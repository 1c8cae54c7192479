#!/bin/sh
# Run beside the directory `hello`, with the variables of `devops-lab env`.
set -eu
production=${DEVOPS_LAB_PRODUCTION:-http://127.0.0.1:8080}

kubectl apply -f hello/k8s/route.yaml
# The load balancer takes the route up within a moment.
curl --silent --fail --retry 20 --retry-delay 1 --retry-all-errors "$production/" > /dev/null
