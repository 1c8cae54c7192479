#!/bin/sh
set -eu
kubectl get nodes
