#!/bin/sh
# The repository is made, and nobody told git of it.
set -eu
devops-lab ci init hello
