#!/bin/sh
# The users come when the door is turned already.
set -eu
sed 's/hello-blue/hello-green/' blue-green/route.yaml | kubectl apply -f -
sleep 1
devops-lab traffic start --duration 3s
sleep 4
