#!/bin/sh
# The blanks as they were.
set -eu
kubectl apply -f monitor/service-monitor.yaml
