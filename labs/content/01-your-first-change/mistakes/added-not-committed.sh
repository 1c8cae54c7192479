#!/bin/sh
# Added, and not committed.
set -eu
cd hello
git init --quiet -b main
git add .
