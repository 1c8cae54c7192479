#!/bin/sh
# What `kubectl cordon node-2` does: the node runs on, and takes no new pods.
set -eu
kubectl patch node/node-2 -p '{"spec":{"unschedulable":true}}'
