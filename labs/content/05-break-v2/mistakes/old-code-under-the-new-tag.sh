#!/bin/sh
# A new tag, and the old code under it: the copy was forgotten.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/1.0.0/* hello/
devops-lab image build -t "$registry/hello:2.0.0" --push hello
