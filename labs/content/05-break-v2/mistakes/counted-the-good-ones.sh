#!/bin/sh
# Requests where failures were asked for, and milliseconds for seconds.
set -eu
devops-lab traffic stop > /dev/null 2>&1 || true

figure() { devops-lab traffic report -o json | sed -n "s/^  \"$1\": \([0-9.]*\),*$/\1/p" | head -n 1; }
devops-lab answer --step break-v2/measure failures "$(figure requests)" || true
devops-lab answer --step break-v2/measure availability "$(figure availability)" || true
devops-lab answer --step break-v2/measure outage "$(figure recoveryMs)" || true
