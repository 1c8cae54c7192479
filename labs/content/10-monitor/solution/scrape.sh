#!/bin/sh
# Both blanks filled in; and pods that are scraped once.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

sed -e 's/app: TODO/app: hello/' -e 's/port: TODO/port: http/' monitor/service-monitor.yaml > monitor/service-monitor.yaml.new
mv monitor/service-monitor.yaml.new monitor/service-monitor.yaml
kubectl apply -f monitor/service-monitor.yaml
# Without the annotations, where somebody applied the manifest as it is.
sed -e "s|image: .*|image: $registry/hello:1.0.0|" \
    -e '/^      annotations:$/,/prometheus.io.path/d' \
    -e '/^        app: hello$/a\
        version: "1.0.0"' hello/k8s/deployment.yaml | kubectl apply -f -
kubectl rollout status deployment/hello --timeout=60s
