#!/bin/sh
# The figures of the record, as it has them.
set -eu
devops-lab traffic stop > /dev/null 2>&1 || true

# The first number under a name of the report.
figure() { devops-lab traffic report -o json | sed -n "s/^  \"$1\": \([0-9.]*\),*$/\1/p" | head -n 1; }
devops-lab answer --step break-v2/measure failures "$(figure failed)"
devops-lab answer --step break-v2/measure availability "$(figure availability)"
# Milliseconds there, seconds here.
devops-lab answer --step break-v2/measure outage "$(figure recoveryMs | sed 's/...$/.&/')"
