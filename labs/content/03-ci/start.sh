#!/bin/sh
# The app in a repository with a first commit; what is there stays.
set -eu
cd hello
git rev-parse --quiet --verify HEAD > /dev/null 2>&1 && exit 0
git init --quiet -b main
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Take over hello 1.0.0"
