#!/bin/sh
# A pause of fifteen seconds in ten seconds of grace.
set -eu
kubectl patch deployment shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","lifecycle":{"preStop":{"sleep":{"seconds":15}}}}]}}}}'
kubectl patch deployment shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","lifecycle":{"postStart":null}}]}}}}'
