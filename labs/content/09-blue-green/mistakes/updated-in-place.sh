#!/bin/sh
# The version that users have is changed under their feet.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cp hello/versions/2.0.0/* hello/
devops-lab image build -t "$registry/hello:2.0.0" --push hello
kubectl set image deployment/hello-blue "hello=$registry/hello:2.0.0"
