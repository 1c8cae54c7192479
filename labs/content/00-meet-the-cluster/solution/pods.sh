#!/bin/sh
set -eu
devops-lab answer probe /readyz
