#!/bin/sh
# Kept out of the image, and put into the repository.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cd sayings
git init --quiet -b main
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Put sayings into an image"
devops-lab image build -t "$registry/sayings:$(git rev-parse --short HEAD)" --push .
