#!/bin/sh
# The other probe: it kills what hangs, and keeps no request waiting.
set -eu
kubectl patch deployment shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","livenessProbe":{"httpGet":{"path":"/readyz","port":"http"},"periodSeconds":5}}]}}}}'
kubectl rollout status deployment/shop --timeout=60s
