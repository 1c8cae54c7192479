#!/bin/sh
# Run beside the directory `hello`. The Service sends to its own port, where no app listens.
set -eu
sed "s/targetPort: http/targetPort: 80/" hello/k8s/service.yaml | kubectl apply -f -
