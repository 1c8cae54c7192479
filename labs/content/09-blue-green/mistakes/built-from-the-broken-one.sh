#!/bin/sh
# Tag 2.0.1, made of the files of 2.0.0.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cp hello/versions/2.0.0/* hello/
devops-lab image build -t "$registry/hello:2.0.1" --push hello
kubectl set image deployment/hello-green "hello=$registry/hello:2.0.1"
kubectl rollout status deployment/hello-green --timeout=60s
