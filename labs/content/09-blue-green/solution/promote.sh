#!/bin/sh
# The door is turned while the users walk through it.
set -eu
sed -i 's/hello-green/hello-blue/' blue-green/route.yaml
kubectl apply -f blue-green/route.yaml
devops-lab traffic stop || true
sleep 1
devops-lab traffic start
sleep 3
sed -i 's/hello-blue/hello-green/' blue-green/route.yaml
kubectl apply -f blue-green/route.yaml
sleep 3
devops-lab traffic stop
