#!/bin/sh
# The image says what it is, and who runs it.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
LABEL org.opencontainers.image.title=sayings
COPY . /app/
USER 10001
END
devops-lab image build -t "$registry/sayings:dev" --push sayings
