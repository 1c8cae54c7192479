#!/bin/sh
# The fire out, and the alarm left in its place.
set -eu
kubectl apply -f monitor/alert.yaml
kubectl delete -f monitor/next.yaml > /dev/null 2>&1 || true
devops-lab answer --step monitor/page which 3
devops-lab answer --step monitor/page for 1
tries=0
while devops-lab metrics query ALERTS | grep -q HelloErrors; do
    tries=$((tries + 1))
    if [ "$tries" -gt 120 ]; then
        echo "the alert does not fall silent" >&2
        exit 1
    fi
    sleep 1
done
