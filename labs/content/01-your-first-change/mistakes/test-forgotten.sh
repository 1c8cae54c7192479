#!/bin/sh
# Only the app is committed.
set -eu
cd hello
git add app.js
git -c user.name=Learner -c user.email=learner@example.com commit --quiet -m "Greet with good morning"
