#!/bin/sh
# A tag that means two things, seen; then back to one that means one.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# The code of a version under the tag 2.1.0.
push() {
    context=$(mktemp -d)
    cp hello/Dockerfile hello/app.test.js "$context"
    cp hello/versions/"$1"/* "$context"
    devops-lab image build -t "$registry/hello:2.1.0" --push "$context"
    rm -r "$context"
}

kubectl set image deployment/hello "hello=$registry/hello:2.0.1"
kubectl rollout status deployment/hello --timeout=60s
push 2.0.0
kubectl set image deployment/hello "hello=$registry/hello:2.1.0"
kubectl rollout status deployment/hello --timeout=60s
push 2.0.1
# Its pods would be new, and their code old. What remains is to go back.
kubectl rollout undo deployment/hello
kubectl rollout status deployment/hello --timeout=60s

devops-lab answer --step rollback/tag why 2
devops-lab answer --step rollback/tag tomorrow 2
