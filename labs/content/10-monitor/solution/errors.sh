#!/bin/sh
# A bad version among the good ones, and the queries that tell.
set -eu
# Puts a query under the name of its rule.
query() {
    plain=$(printf '%s' "$2" | sed 's/[&|\\]/\\&/g')
    sed "/record: $1\$/{n;s|expr: .*|expr: $plain|;}" monitor/rules.yaml > monitor/rules.yaml.new
    mv monitor/rules.yaml.new monitor/rules.yaml
}

kubectl apply -f monitor/next.yaml
kubectl rollout status deployment/hello-next --timeout=60s
query hello:requests_by_version:rate1m 'sum by (version) (rate(http_requests_total{app="hello"}[1m]))'
query hello:errors:share1m 'sum(rate(http_requests_total{app="hello",code=~"5.."}[1m])) / sum(rate(http_requests_total{app="hello"}[1m]))'
kubectl apply -f monitor/rules.yaml
