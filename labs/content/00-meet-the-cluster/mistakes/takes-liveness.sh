#!/bin/sh
# The other of the two probes.
set -eu
devops-lab answer probe /healthz || true
