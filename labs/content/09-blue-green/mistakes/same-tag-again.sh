#!/bin/sh
# The repaired version under the broken one's tag.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cp hello/versions/2.0.1/* hello/
devops-lab image build -t "$registry/hello:2.0.0" --push hello
kubectl rollout restart deployment/hello-green
kubectl rollout status deployment/hello-green --timeout=60s
