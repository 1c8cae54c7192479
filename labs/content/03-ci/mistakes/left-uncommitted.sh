#!/bin/sh
# Something new lies in the directory, and no commit has it.
set -eu
cd hello
echo "Ask Ada before you change this." > NOTES.md
git push --quiet lab main
