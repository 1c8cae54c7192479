#!/bin/sh
# Everything stays out, but for what is named.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

devops-lab answer stowaway secrets.env
cat > sayings/.dockerignore <<'END'
*
!app.js
!sayings.js
!app.test.js
END
devops-lab image build -t "$registry/sayings:dev" --push sayings
