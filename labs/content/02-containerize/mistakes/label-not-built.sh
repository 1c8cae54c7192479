#!/bin/sh
# The Dockerfile is right; the image is from before.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
printf 'FROM devops-lab/runtime:1\nCOPY . /app/\nUSER 10001\n' > sayings/Dockerfile
devops-lab image build -t "$registry/sayings:dev" --push sayings
cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
LABEL org.opencontainers.image.title=sayings
COPY . /app/
USER 10001
END
