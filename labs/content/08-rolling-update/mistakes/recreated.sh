#!/bin/sh
# All old ones first, then the new ones: it reads so simply.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
sed -i 's/VERSION = .*/VERSION = "1.2.0";/' shop/app.js
devops-lab image build -t "$registry/shop:1.2.0" --push shop
devops-lab traffic start -X POST --rate 60 --users 20
sleep 2
sed -e 's/rollingUpdate:/type: Recreate/' -e '/maxUnavailable:/d' -e '/maxSurge:/d' \
    -e "s|image: .*|image: $registry/shop:1.2.0|" shop/k8s/deployment.yaml | kubectl apply -f -
kubectl rollout status deployment/shop --timeout=60s
sleep 5
devops-lab traffic stop
