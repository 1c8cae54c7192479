#!/bin/sh
# The same wish again ends the same.
set -eu
devops-lab rollout retry hello
devops-lab rollout status hello --timeout 100 || true
