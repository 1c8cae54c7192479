#!/bin/sh
# A Rollout takes over: first its pods, then the doors, and the old ones go last.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed "s|image: .*|image: $registry/hello:2.0.1|" blue-green/rollout.yaml | kubectl apply -f -
devops-lab rollout status hello
sed -i 's/hello-green/hello-active/' blue-green/route.yaml
kubectl apply -f blue-green/route.yaml
sed 's/hello-green/hello-preview/' blue-green/test-routes.yaml | kubectl apply -f -
# Until the load balancer sends nobody there any more.
sleep 2
kubectl delete deployment hello-blue hello-green --ignore-not-found
kubectl delete service hello-blue hello-green --ignore-not-found
