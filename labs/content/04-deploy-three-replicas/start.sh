#!/bin/sh
# Three nodes, and nothing on them of the labs that deploy the same app.
set -eu
devops-lab start 3
for object in httproute/hello httproute/hello-next httproute/shop rollout/hello deployment/hello service/hello; do
    kubectl delete "$object" --ignore-not-found
done
