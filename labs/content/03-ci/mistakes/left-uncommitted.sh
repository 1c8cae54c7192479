#!/bin/sh
# Something new lies in the directory, and no commit has it.
set -eu
devops-lab ci init hello
cd hello
git remote add lab "$(devops-lab ci remote hello)"
echo "Ask Ada before you change this." > NOTES.md
git push --quiet lab main
