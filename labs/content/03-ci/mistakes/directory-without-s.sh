#!/bin/sh
# The file lies where nobody looks for it.
set -eu
cd hello
mkdir -p .github/workflow
cat > .github/workflow/ci.yml <<'END'
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
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Test every push"
git push --quiet lab main
