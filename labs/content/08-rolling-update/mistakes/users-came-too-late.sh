#!/bin/sh
# The traffic begins when all is over.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
sed -i 's/VERSION = .*/VERSION = "1.1.0";/' shop/app.js
devops-lab image build -t "$registry/shop:1.1.0" --push shop
sed -i "s|image: .*|image: $registry/shop:1.1.0|" shop/k8s/deployment.yaml
kubectl apply -f shop/k8s/deployment.yaml
kubectl rollout status deployment/shop --timeout=60s
# Without a probe the pods count as ready at once; the price list takes two seconds.
sleep 4
devops-lab traffic start -X POST --rate 60 --users 20 --duration 3s
sleep 4
