#!/bin/sh
# A number where a name is asked for.
set -eu
sed -e 's/app: TODO/app: hello/' -e 's/port: TODO/port: "80"/' monitor/service-monitor.yaml | kubectl apply -f -
