#!/bin/sh
# Two doors that lead to green; the users' door stays.
set -eu
kubectl apply -f blue-green/route.yaml
kubectl apply -f blue-green/test-routes.yaml
