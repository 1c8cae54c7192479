#!/bin/sh
# App and test together: there is nothing to be red.
set -eu
cd hello
sed -i 's/greeting("Ada"), "[^"]*"/greeting("Ada"), "Howdy, Ada!"/' app.test.js
sed -i 's/return `[^$]*${name}/return `Howdy, ${name}/' app.js
git add .
git -c user.name=Learner -c user.email=learner@example.com commit --quiet --allow-empty -m "Greet in a hurry"
git push --quiet lab main
