#!/bin/sh
set -eu
devops-lab image build -t "$DEVOPS_LAB_REGISTRY/hello:1.0.0" hello
