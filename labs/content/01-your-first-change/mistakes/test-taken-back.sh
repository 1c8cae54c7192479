#!/bin/sh
# Green again, by taking the test back.
set -eu
cd hello
git checkout --quiet -- app.js app.test.js
