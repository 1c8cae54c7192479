#!/bin/sh
# Run beside the directory `hello`. There is no Gateway of this name.
set -eu
sed "s/name: devops-lab/name: devopslab/" hello/k8s/route.yaml | kubectl apply -f -
