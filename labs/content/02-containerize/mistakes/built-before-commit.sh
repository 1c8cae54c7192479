#!/bin/sh
# The image is of the commit before; then came one more.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}
cd sayings
echo secrets.env > .gitignore
git init --quiet -b main
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Put sayings into an image"
devops-lab image build -t "$registry/sayings:$(git rev-parse --short HEAD)" --push .
echo "Its image is named by its commit." >> README.md
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -am "Say how the image is named"
