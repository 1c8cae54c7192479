#!/bin/sh
# A job begins in an empty directory.
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
      - name: Test
        run: devops-lab app test app.test.js
END
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Test every push"
git push --quiet lab main
