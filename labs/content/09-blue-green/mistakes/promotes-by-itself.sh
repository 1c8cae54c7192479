#!/bin/sh
# Ready is taken for good.
set -eu
sed '/autoPromotionEnabled/d' blue-green/rollout.yaml | kubectl apply -f -
devops-lab rollout status hello
