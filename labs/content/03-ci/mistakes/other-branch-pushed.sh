#!/bin/sh
# Pushed, to a branch of another name.
set -eu
devops-lab ci init hello
cd hello
git remote add lab "$(devops-lab ci remote hello)"
git push --quiet lab main:trunk
