#!/bin/sh
# To switch it off and on again works with a television.
set -eu
kubectl scale deployment/hello --replicas=0
