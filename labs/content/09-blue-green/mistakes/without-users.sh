#!/bin/sh
# The door is turned while nobody looks.
set -eu
sed 's/hello-blue/hello-green/' blue-green/route.yaml | kubectl apply -f -
