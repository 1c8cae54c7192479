#!/bin/sh
# Committed, and kept to oneself.
set -eu
cd hello
mkdir -p .github/workflows
cat > .github/workflows/ci.yml <<'END'
name: CI
on: push
jobs:
  hello:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - name: Test
        run: devops-lab app test app.test.js
END
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Fetch the commit first"
