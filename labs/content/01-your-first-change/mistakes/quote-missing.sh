#!/bin/sh
# A quote went with the old greeting.
set -eu
cd hello
git checkout --quiet -- app.js app.test.js
sed -i 's/"Hello, Ada!"/"Good morning, Ada!/' app.test.js
