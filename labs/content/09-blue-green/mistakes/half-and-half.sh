#!/bin/sh
# Half of the users here, half of them there.
set -eu
kubectl patch httproute hello --type merge -p '{"spec":{"rules":[{"backendRefs":[{"name":"hello-blue","port":80,"weight":50},{"name":"hello-green","port":80,"weight":50}]}]}}'
