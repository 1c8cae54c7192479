#!/bin/sh
# Run beside the directory `hello`, with the variables of `devops-lab env`.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab image build -t "$registry/hello:1.0.0" --push hello
