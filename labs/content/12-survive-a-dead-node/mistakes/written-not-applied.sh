#!/bin/sh
# Six in the file, and nobody told the cluster.
set -eu
sed -i 's/replicas: .*/replicas: 6/' hello/k8s/deployment.yaml
