#!/bin/sh
# What the record says.
set -eu
figure() { devops-lab traffic report -o json | sed -n "s/^  \"$1\": \([0-9.]*\),*$/\1/p" | head -n 1; }
devops-lab answer --step canary/count failures "$(figure failed)"
devops-lab answer --step canary/count less 2
