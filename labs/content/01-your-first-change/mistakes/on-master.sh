#!/bin/sh
# Committed, on a branch of the name that git gives by itself.
set -eu
cd hello
git init --quiet -b master
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Take over hello 1.0.0"
