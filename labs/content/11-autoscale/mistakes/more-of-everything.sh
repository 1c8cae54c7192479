#!/bin/sh
# More copies help against everything: a belief.
set -eu
devops-lab answer autoscale/ceiling/limited 1 || true
devops-lab answer autoscale/ceiling/helps 1 || true
