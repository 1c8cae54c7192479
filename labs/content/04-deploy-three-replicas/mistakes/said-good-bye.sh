#!/bin/sh
# A node that is cordoned takes no new pods. Those that it has stay, so nothing is lost.
set -eu
devops-lab traffic start --duration 4s
sleep 2
kubectl cordon node-2
sleep 3
kubectl uncordon node-2
