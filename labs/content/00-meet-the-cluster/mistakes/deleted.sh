#!/bin/sh
# The wish itself is taken back, and the pods go with it.
set -eu
kubectl delete deployment hello --ignore-not-found
