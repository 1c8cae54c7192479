#!/bin/sh
# `git init` one directory too high.
set -eu
git init --quiet -b main
git add hello
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Everything"
