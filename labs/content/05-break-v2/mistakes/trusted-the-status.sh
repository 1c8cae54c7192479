#!/bin/sh
# So many errors, so the pods cannot be ready: a guess instead of a look.
set -eu
devops-lab answer --step break-v2/see share 80 || true
devops-lab answer --step break-v2/see pods 2 || true
devops-lab answer --step break-v2/see function greeting || true
