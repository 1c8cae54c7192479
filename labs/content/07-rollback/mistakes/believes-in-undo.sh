#!/bin/sh
# Undo undoes everything: a belief.
set -eu
devops-lab answer --step rollback/database column 1 || true
devops-lab answer --step rollback/database order 2 || true
