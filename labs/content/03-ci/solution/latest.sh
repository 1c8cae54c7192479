#!/bin/sh
# A guard, and somebody who breaks the rule.
set -eu
devops-lab answer why-not-latest 3
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
      - name: No latest
        run: |
          if grep -rn 'image:.*:latest' k8s; then
            echo "latest is no version: name the one you mean"
            exit 1
          fi
      - name: Test
        run: devops-lab app test app.test.js
      - name: Image
        run: devops-lab image build -t "${{ vars.REGISTRY }}/hello:$(git rev-parse --short HEAD)" --push .
END
sed -i 's|/hello:.*|/hello:latest|' k8s/deployment.yaml
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Deploy the latest"
git push --quiet lab main
