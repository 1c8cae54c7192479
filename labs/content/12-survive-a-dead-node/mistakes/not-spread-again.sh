#!/bin/sh
# A new machine, and the pods sit where they sit.
set -eu
devops-lab node remove node-2
devops-lab start 3
devops-lab answer where 2
