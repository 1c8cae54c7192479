#!/bin/sh
# Requests that cost the processor nothing.
set -eu
devops-lab traffic stop > /dev/null 2>&1 || true
devops-lab traffic start --rate 5 --path /
