#!/bin/sh
# The traffic begins when all is over.
set -eu
# Without a probe the pods count as ready at once; the price list takes two seconds.
sleep 4
devops-lab traffic start -X POST --rate 60 --users 20 --duration 3s
sleep 4
