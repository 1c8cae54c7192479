#!/bin/sh
# Three nodes; a cluster that has them stays as it is.
set -eu
devops-lab start 3
