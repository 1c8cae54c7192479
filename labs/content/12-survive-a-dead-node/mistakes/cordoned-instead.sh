#!/bin/sh
# A farewell is no loss.
set -eu
devops-lab traffic start --duration 4s
sleep 2
kubectl patch node/node-2 -p '{"spec":{"unschedulable":true}}'
sleep 3
kubectl patch node/node-2 -p '{"spec":{"unschedulable":null}}'
