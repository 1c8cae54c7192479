#!/bin/sh
# It rings, and says nothing.
set -eu
sed -e 's|expr: .*|expr: hello:errors:share1m > 0.05|' monitor/alert.yaml | kubectl apply -f -
