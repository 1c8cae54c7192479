#!/bin/sh
# A pause between leaving the load balancer and ending.
set -eu
grep -q preStop shop/k8s/deployment.yaml ||
    sed -i '/containerPort: 8080/r /dev/stdin' shop/k8s/deployment.yaml <<'END'
          lifecycle:
            preStop:
              sleep:
                seconds: 2
END
kubectl apply -f shop/k8s/deployment.yaml
kubectl patch deployment shop -p '{"spec":{"template":{"spec":{"containers":[{"name":"shop","lifecycle":{"postStart":null}}]}}}}'
kubectl rollout status deployment/shop --timeout=60s
# The pods without the pause are on their way out.
sleep 2
