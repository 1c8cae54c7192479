#!/bin/sh
# Cold feet.
set -eu
devops-lab rollout abort hello
