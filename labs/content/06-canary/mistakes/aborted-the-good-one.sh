#!/bin/sh
# Half of the users have it, and it is sent back.
set -eu
devops-lab rollout abort hello
sleep 1
