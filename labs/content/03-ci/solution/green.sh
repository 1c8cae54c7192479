#!/bin/sh
# The app is mended; the tests speak.
set -eu
cd hello
grep -q 'test("greets by name"' app.test.js ||
    git checkout --quiet HEAD~1 -- app.test.js
# The app says again what its test expects.
greet=$(sed -n 's/.*greeting("Ada"), "\([^"]*\)Ada.*/\1/p' app.test.js | head -n 1)
sed -i "s/return \`[^\$]*\${name}/return \`$greet\${name}/" app.js
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
      - name: Image
        run: devops-lab image build -t "${{ vars.REGISTRY }}/hello:$(git rev-parse --short HEAD)" --push .
END
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Greet as the test expects"
git push --quiet lab main
