#!/bin/sh
# Green beside blue; no user notices.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/2.0.0/* hello/
devops-lab image build -t "$registry/hello:2.0.0" --push hello
sed -e 's/blue/green/g' -e 's/1\.0\.0/2.0.0/' blue-green/blue.yaml > blue-green/green.yaml
kubectl apply -f blue-green/blue.yaml
kubectl apply -f blue-green/green.yaml
kubectl rollout status deployment/hello-blue --timeout=60s
kubectl rollout status deployment/hello-green --timeout=60s
