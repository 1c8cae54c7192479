#!/bin/sh
set -eu
devops-lab answer what-changes 2 || true
