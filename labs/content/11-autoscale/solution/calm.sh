#!/bin/sh
# Quickly up, slowly down.
set -eu
sed '/^    scaleDown:$/,$d' autoscale/hpa.yaml > autoscale/hpa.yaml.new
cat >> autoscale/hpa.yaml.new << 'YAML'
    scaleDown:
      stabilizationWindowSeconds: 300
      policies:
        - type: Pods
          value: 1
          periodSeconds: 60
YAML
mv autoscale/hpa.yaml.new autoscale/hpa.yaml
kubectl apply -f autoscale/hpa.yaml
devops-lab answer --step autoscale/calm why 1
