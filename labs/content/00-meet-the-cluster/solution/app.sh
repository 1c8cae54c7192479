#!/bin/sh
set -eu
# After all that the nodes went through, the copies are spread anew.
kubectl rollout restart deployment/hello
kubectl rollout status deployment/hello --timeout=60s
devops-lab answer what-changes 1
