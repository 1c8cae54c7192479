#!/bin/sh
# The pods are expected to come by themselves.
set -eu
devops-lab node remove node-2
devops-lab start 3
devops-lab answer where 1 || true
