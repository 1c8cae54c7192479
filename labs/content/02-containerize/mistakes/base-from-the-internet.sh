#!/bin/sh
# The base image of every tutorial, where there is no Internet.
set -eu
printf 'FROM node:22-alpine\nCOPY app.js /app/\n' > sayings/Dockerfile
