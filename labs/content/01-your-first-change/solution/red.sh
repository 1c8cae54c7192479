#!/bin/sh
# The test first: it asks for what the app cannot do yet.
set -eu
cd hello
git checkout --quiet -- app.js app.test.js
sed -i 's/"Hello, Ada!"/"Good morning, Ada!"/' app.test.js
