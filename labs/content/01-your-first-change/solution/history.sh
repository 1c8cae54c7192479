#!/bin/sh
# Run beside the directory `hello`: a repository, and the first picture in it.
set -eu
cd hello
git init --quiet -b main
git symbolic-ref HEAD refs/heads/main
git add .
git rev-parse --quiet --verify HEAD > /dev/null ||
    git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Take over hello 1.0.0"
