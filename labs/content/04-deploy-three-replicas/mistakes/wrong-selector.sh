#!/bin/sh
# Run beside the directory `hello`. The selector has a typing error.
set -eu
sed "/selector:/{n;s/app: hello/app: helo/;}" hello/k8s/service.yaml | kubectl apply -f -
