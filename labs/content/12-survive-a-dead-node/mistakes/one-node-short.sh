#!/bin/sh
# The machine is gone, and none came in its place.
set -eu
devops-lab node remove node-2
devops-lab answer where 2
