#!/bin/sh
# One more test of what was tested already.
set -eu
cat >> hello/app.test.js << 'JS'

test("greets Grace, too", () => {
  assertEqual(greeting("Grace", "en"), "Hello, Grace!");
});
JS
devops-lab answer --step break-v2/learn sooner 3 || true
