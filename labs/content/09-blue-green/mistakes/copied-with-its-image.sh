#!/bin/sh
# The copy of the manifest has the image of the original.
set -eu
sed 's/blue/green/g' blue-green/blue.yaml | kubectl apply -f -
