#!/bin/sh
# A test that is red on 2.0.0, for the right reason.
set -eu
cat > hello/app.test.js << 'JS'
// Unit tests. Run them with: devops-lab app test app.test.js

import app, { LANGUAGES, greeting } from "./app.js";

test("greets by name", () => {
  assertEqual(greeting("Ada"), "Hello, Ada!");
});

// The test that would have stopped 2.0.0.
test("greets in every language that it may pick", () => {
  for (const language of LANGUAGES) {
    assert(greeting("Ada", language).includes("Ada"), `no greeting in ${language}`);
  }
});

test("knows no other page", async () => {
  const response = await app.fetch(new Request("/nowhere"));
  assertEqual(response.status, 404);
});
JS
devops-lab answer --step break-v2/learn sooner 3
