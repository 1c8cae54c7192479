#!/bin/sh
# The shop in version 1.0.0, in three copies, behind the load balancer.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab start 3
# The routes of other labs would answer in its place.
for object in httproute/hello httproute/hello-next; do
    kubectl delete "$object" --ignore-not-found
done
sed -i 's/VERSION = .*/VERSION = "1.0.0";/' shop/app.js
devops-lab image build -t "$registry/shop:1.0.0" --push shop
sed -i "s|image: .*|image: $registry/shop:1.0.0|" shop/k8s/deployment.yaml
for manifest in deployment service route; do
    kubectl apply -f "shop/k8s/$manifest.yaml"
done
kubectl rollout status deployment/shop --timeout=60s
