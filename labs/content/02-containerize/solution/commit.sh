#!/bin/sh
# Commit, then build: the tag says which commit is in the image, and so does the label.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
ARG REVISION=unknown
LABEL org.opencontainers.image.title=sayings \
      org.opencontainers.image.revision=$REVISION
COPY . /app/
USER 10001
END
cd sayings
echo secrets.env > .gitignore
git init --quiet -b main
git add .
git rm --quiet --cached --ignore-unmatch secrets.env
git diff --cached --quiet ||
    git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Put sayings into an image"
devops-lab image build -t "$registry/sayings:$(git rev-parse --short HEAD)" \
    --build-arg REVISION="$(git rev-parse HEAD)" --push .
