#!/bin/sh
# Version 1.0.0 is blue, and has the users.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab start 3
# What other labs left behind would answer in its place.
for object in httproute/shop httproute/hello-next httproute/hello-test rollout/hello deployment/hello; do
    kubectl delete "$object" --ignore-not-found
done
# A tag that exists never moves.
devops-lab image ls | grep -q "/hello:1\.0\.0 .*sha256:" ||
    devops-lab image build -t "$registry/hello:1.0.0" --push hello
sed "s|image: .*|image: $registry/hello:1.0.0|" blue-green/blue.yaml | kubectl apply -f -
sed -i -E 's/name: hello-(green|active)/name: hello-blue/' blue-green/route.yaml
kubectl apply -f blue-green/route.yaml
kubectl rollout status deployment/hello-blue --timeout=60s
