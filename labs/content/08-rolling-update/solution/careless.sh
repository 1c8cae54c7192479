#!/bin/sh
# An update in a hurry, and users who meet it.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed -i 's/VERSION = .*/VERSION = "1.1.0";/' shop/app.js
devops-lab image build -t "$registry/shop:1.1.0" --push shop
sed -i "s|image: .*|image: $registry/shop:1.1.0|" shop/k8s/deployment.yaml
devops-lab traffic stop || true
devops-lab traffic start -X POST --rate 60 --users 20
sleep 2
# Where 1.1.0 runs already, its pods are replaced all the same.
kubectl apply -f shop/k8s/deployment.yaml
kubectl rollout restart deployment/shop
kubectl rollout status deployment/shop --timeout=60s
sleep 4
lost=$(devops-lab traffic stop | sed -n 's/^Failed *\([0-9]*\).*/\1/p')
devops-lab answer lost "$lost"
