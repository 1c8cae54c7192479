#!/bin/sh
# One more at first, then one less.
set -eu
sed -i -e 's/maxUnavailable: .*/maxUnavailable: 0/' -e 's/maxSurge: .*/maxSurge: 1/' \
    -e 's/All at once, so that it is over soon/A new one first; only then may an old one go/' shop/k8s/deployment.yaml
kubectl apply -f shop/k8s/deployment.yaml
