#!/bin/sh
# The list lies one directory too high.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf '*\n!app.js\n!sayings.js\n!app.test.js\n' > .dockerignore
devops-lab image build -t "$registry/sayings:dev" --push sayings
