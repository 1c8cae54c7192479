#!/bin/sh
# The users are back already; now the wish.
set -eu
# Done already, where this runs for the second time.
if devops-lab rollout status hello --no-wait > /dev/null 2>&1; then exit 0; fi
tries=0
# While the alarm rings, it would abort this change as well.
while devops-lab metrics query 'ALERTS{alertstate="firing"}' | grep -q HelloErrors; do
    tries=$((tries + 1))
    if [ "$tries" -gt 120 ]; then
        echo "the alarm does not fall silent" >&2
        exit 1
    fi
    sleep 1
done
devops-lab rollout undo hello
# What was degraded a moment ago, is until the change is seen.
kubectl wait rollout/hello --for=jsonpath='{.status.phase}'=Healthy --timeout=150s
