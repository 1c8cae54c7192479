#!/bin/sh
# A list of what must stay out, and something big that is not on it.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
head -c 300000 /dev/zero > sayings/dump.sql
printf 'secrets.env\n.git\n' > sayings/.dockerignore
devops-lab image build -t "$registry/sayings:dev" --push sayings
rm sayings/dump.sql
