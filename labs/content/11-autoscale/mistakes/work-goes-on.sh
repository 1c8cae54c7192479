#!/bin/sh
# The work goes on, and so do the copies.
set -eu
devops-lab traffic status > /dev/null
