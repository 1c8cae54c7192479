#!/bin/sh
# Run beside the directory `sayings`, with the variables of `devops-lab env`.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
COPY app.js /app/
END
devops-lab image build -t "$registry/sayings:dev" --push sayings
