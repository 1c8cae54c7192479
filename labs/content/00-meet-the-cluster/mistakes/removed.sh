#!/bin/sh
# A node is taken out of the cluster for good.
set -eu
devops-lab start 3
devops-lab node remove node-3
