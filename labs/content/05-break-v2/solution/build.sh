#!/bin/sh
# The new version over the old one, tested, built, pushed.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cp hello/versions/2.0.0/* hello/
devops-lab app test hello/app.test.js
devops-lab image build -t "$registry/hello:2.0.0" --push hello
