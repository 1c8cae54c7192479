#!/bin/sh
# The update of the first step once more, with manners.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# From the same manifest with the version of before, so that there is something to roll out.
sed -i "s|image: .*|image: $registry/shop:1.1.0|" shop/k8s/deployment.yaml
kubectl apply -f shop/k8s/deployment.yaml
kubectl rollout status deployment/shop --timeout=60s
sleep 3
sed -i 's/VERSION = .*/VERSION = "1.2.0";/' shop/app.js
devops-lab image build -t "$registry/shop:1.2.0" --push shop
sed -i "s|image: .*|image: $registry/shop:1.2.0|" shop/k8s/deployment.yaml
devops-lab traffic stop || true
devops-lab traffic start -X POST --rate 60 --users 20
sleep 2
kubectl apply -f shop/k8s/deployment.yaml
kubectl rollout status deployment/shop --timeout=60s
sleep 5
devops-lab traffic stop
