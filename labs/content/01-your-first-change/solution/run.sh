#!/bin/sh
set -eu
devops-lab app test hello/app.test.js
devops-lab answer status-of-nowhere 404
