#!/bin/sh
# Red, whatever the app does.
set -eu
cat >> hello/app.test.js << 'JS'

test("greets in French", () => {
  assertEqual(greeting("Ada", "en"), "Bonjour, Ada !");
});
JS
devops-lab answer --step break-v2/learn sooner 3 || true
