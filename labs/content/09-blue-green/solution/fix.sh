#!/bin/sh
# The repaired version is a new one.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/2.0.1/* hello/
devops-lab app test hello/app.test.js
devops-lab image build -t "$registry/hello:2.0.1" --push hello
sed -e 's/blue/green/g' -e 's/1\.0\.0/2.0.1/' blue-green/blue.yaml > blue-green/green.yaml
# The pods of a 2.0.1 that was something else are not kept.
kubectl apply -f blue-green/green.yaml
kubectl rollout restart deployment/hello-green
kubectl rollout status deployment/hello-green --timeout=60s
