#!/bin/sh
# The app follows the test.
set -eu
cd hello
git checkout --quiet -- app.js app.test.js
sed -i 's/"Hello, Ada!"/"Good morning, Ada!"/' app.test.js
sed -i 's/`Hello, /`Good morning, /' app.js
devops-lab app test app.test.js
