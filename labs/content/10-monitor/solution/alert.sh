#!/bin/sh
# A query that has a result only when users suffer.
set -eu
sed -e 's|expr: .*|expr: hello:errors:share1m > 0.05|' \
    -e 's|summary: .*|summary: More than 5 % of the answers of hello are errors; see the versions|' \
    monitor/alert.yaml > monitor/alert.yaml.new
mv monitor/alert.yaml.new monitor/alert.yaml
kubectl apply -f monitor/alert.yaml
