#!/bin/sh
# Brings the cluster to where the lab begins: three replicas of hello 1.0.0 as a Deployment behind
# the load balancer, 2.0.0 in the registry, and nobody who calls. May run twice.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# Builds a version from its sources, unless the registry has it: a tag never moves.
release() {
    if devops-lab image ls | grep -q "^[^ ]*/hello:$1 "; then return; fi
    context=$(mktemp -d)
    cp hello/Dockerfile hello/app.test.js "$context"
    cp hello/versions/"$1"/* "$context"
    devops-lab image build -t "$registry/hello:$1" --push "$context"
    rm -r "$context"
}

devops-lab traffic stop > /dev/null 2>&1 || true
release 1.0.0
release 2.0.0
# What another lab, or this one, may have left.
for left in rollout/hello deployment/hello deployment/hello-next httproute/mandelbrot \
    analysistemplate/hello-errors service/hello-stable service/hello-canary; do
    kubectl delete "$left" > /dev/null 2>&1 || true
done

sed "s|image: .*|image: $registry/hello:1.0.0|" hello/k8s/deployment.yaml | kubectl apply -f -
kubectl apply -f hello/k8s/service.yaml -f hello/k8s/route.yaml
kubectl rollout status deployment/hello --timeout=60s
