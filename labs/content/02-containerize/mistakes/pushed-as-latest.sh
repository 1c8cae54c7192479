#!/bin/sh
# Another tag than the one that is asked for.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
devops-lab image build -t "$registry/sayings:latest" --push sayings
