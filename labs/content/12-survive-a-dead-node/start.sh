#!/bin/sh
# The app in three copies on three nodes, behind the load balancer.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab start 3
# The routes of other labs would answer in its place.
kubectl delete httproute/shop httproute/hello-next --ignore-not-found
# A tag that exists never moves.
devops-lab image ls | grep -q "/hello:1\.0\.0 .*sha256:" ||
    devops-lab image build -t "$registry/hello:1.0.0" --push hello
sed -i -e 's/replicas: .*/replicas: 3/' -e "s|image: .*|image: $registry/hello:1.0.0|" hello/k8s/deployment.yaml
for manifest in deployment service route; do
    kubectl apply -f "hello/k8s/$manifest.yaml"
done
kubectl rollout status deployment/hello --timeout=60s
