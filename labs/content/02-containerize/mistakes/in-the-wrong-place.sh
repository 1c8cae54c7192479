#!/bin/sh
# The Dockerfile lies beside the app's directory, not in it.
set -eu
printf 'FROM devops-lab/runtime:1\nCOPY app.js /app/\n' > Dockerfile
