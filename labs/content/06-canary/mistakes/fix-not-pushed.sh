#!/bin/sh
# Built, released, and never pushed.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/2.0.1/* hello/
devops-lab image build -t "$registry/hello:2.0.1" hello
devops-lab rollout set image hello "hello=$registry/hello:2.0.1"
