#!/bin/sh
# The testers test what users have anyway.
set -eu
sed 's/hello-green/hello-blue/' blue-green/test-routes.yaml | kubectl apply -f -
