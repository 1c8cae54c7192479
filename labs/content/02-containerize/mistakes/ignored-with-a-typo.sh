#!/bin/sh
# A letter is missing in the name of the file.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf 'secret.env\n.git\n' > sayings/.dockerignore
devops-lab image build -t "$registry/sayings:dev" --push sayings
