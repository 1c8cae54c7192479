#!/bin/sh
# The alert is gone, the errors are not.
set -eu
kubectl delete prometheusrule hello-alert
devops-lab answer --step monitor/page which 3 || true
devops-lab answer --step monitor/page for 1 || true
