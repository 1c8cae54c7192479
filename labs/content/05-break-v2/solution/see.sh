#!/bin/sh
# What the traffic, the pods and the log say.
set -eu
devops-lab answer --step break-v2/see share 80
devops-lab answer --step break-v2/see pods 1
devops-lab answer --step break-v2/see function greeting
