#!/bin/sh
# Five of ten, by chance.
set -eu
devops-lab answer failing 50 || true
devops-lab answer reason 2
