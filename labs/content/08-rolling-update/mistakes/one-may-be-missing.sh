#!/bin/sh
# One new, and one of the old may go before it is there.
set -eu
sed -e 's/maxUnavailable: .*/maxUnavailable: 1/' -e 's/maxSurge: .*/maxSurge: 1/' shop/k8s/deployment.yaml |
    kubectl apply -f -
