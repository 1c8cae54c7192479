#!/bin/sh
# The app imports a second file; now all of them go along.
set -eu
registry=${DEVOPS_LAB_REGISTRY:-localhost:5001}

cat > sayings/Dockerfile <<'END'
FROM devops-lab/runtime:1
COPY . /app/
END
devops-lab image build -t "$registry/sayings:dev" --push sayings
kubectl delete pod sayings --ignore-not-found
sed "s|image: .*|image: $registry/sayings:dev|" sayings/pod.yaml | kubectl apply -f -
kubectl wait --for=condition=Ready pod/sayings --timeout=60s
