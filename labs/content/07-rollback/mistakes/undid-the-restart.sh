#!/bin/sh
# The restart is the last revision; to undo it leads to the same bad image.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

context=$(mktemp -d)
cp hello/Dockerfile hello/app.test.js "$context"
cp hello/versions/2.0.0/* "$context"
devops-lab image build -t "$registry/hello:2.1.0" --push "$context"
rm -r "$context"
kubectl set image deployment/hello "hello=$registry/hello:2.1.0"
kubectl rollout status deployment/hello --timeout=60s
kubectl rollout restart deployment/hello
kubectl rollout status deployment/hello --timeout=60s
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s
