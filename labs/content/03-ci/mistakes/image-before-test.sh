#!/bin/sh
# What is built first is tested too late.
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
      - name: Image
        run: devops-lab image build -t "${{ vars.REGISTRY }}/hello:$(git rev-parse --short HEAD)" --push .
      - name: Test
        run: devops-lab app test app.test.js
END
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Build an image of every commit"
git push --quiet lab main
