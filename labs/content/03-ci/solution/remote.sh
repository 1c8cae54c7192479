#!/bin/sh
# A repository in the cluster, and the first push.
set -eu
devops-lab ci init hello
cd hello
git remote remove lab 2> /dev/null || true
git remote add lab "$(devops-lab ci remote hello)"
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Take over what was left"
git push --quiet lab main
