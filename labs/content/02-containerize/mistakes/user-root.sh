#!/bin/sh
# The line is there, and says the contrary.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
LABEL org.opencontainers.image.title=sayings
COPY . /app/
USER root
END
devops-lab image build -t "$registry/sayings:dev" --push sayings
