#!/bin/sh
# Two more than three are not six.
set -eu
sed -i 's/replicas: .*/replicas: 5/' hello/k8s/deployment.yaml
kubectl apply -f hello/k8s/deployment.yaml
