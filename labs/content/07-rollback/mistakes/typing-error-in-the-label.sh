#!/bin/sh
# An alarm for a Rollout that does not exist.
set -eu
sed -e 's/#~//' -e 's/rollout: hello/rollout: helo/' rollback/alarm.yaml | kubectl apply -f -
