#!/bin/sh
# The last word is a person's.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

# Past every step that is left.
to_the_end() {
    kubectl wait rollout/hello --for=jsonpath='{.status.phase}'=Paused --timeout=60s
    devops-lab rollout promote hello --full
    devops-lab rollout status hello --timeout 120
}

if devops-lab traffic status | grep -q '^Traffic running'; then
    # Done already, where this runs for the second time.
    if devops-lab rollout status hello --no-wait > /dev/null 2>&1; then exit 0; fi
    # Only needed where it was aborted.
    devops-lab rollout retry hello > /dev/null 2>&1 || true
else
    # Users were away when it came: once more, with them.
    devops-lab traffic start --rate 50
    devops-lab rollout set image hello "hello=$registry/hello:1.0.0"
    to_the_end
    devops-lab rollout set image hello "hello=$registry/hello:2.0.1"
fi
to_the_end
sleep 2
