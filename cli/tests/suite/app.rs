//! The application that the tests deploy, and its manifests.

use std::fs;
use std::path::Path;

/// A directory to build: answers with its version, pod and node.
pub(crate) fn write(directory: &Path, version: &str) {
    let code = format!(
        r#"export default {{
  version: "{version}",
  fetch(request) {{
    if (request.path === "/crash") throw new Error("asked to");
    return Response.json({{ version: "{version}", pod: env.HOSTNAME, node: env.NODE_NAME }});
  }},
}};
"#
    );
    write_files(directory, &[("app.js", &code), ("Dockerfile", DOCKERFILE)]);
}

pub(crate) const DOCKERFILE: &str = "FROM devops-lab/runtime:1\nCOPY app.js /app/\nUSER 10001\n";

/// A directory to build whose program ends at once.
pub(crate) fn write_crashing(directory: &Path) {
    let code = "throw new Error(\"no database here\");\n";
    write_files(directory, &[("app.js", code), ("Dockerfile", DOCKERFILE)]);
}

pub(crate) fn write_files(directory: &Path, files: &[(&str, &str)]) {
    fs::create_dir_all(directory).expect("a test's directory can be made");
    for (name, content) in files {
        fs::write(directory.join(name), content).expect("a test's file can be written");
    }
}

/// A Deployment called `name`.
pub(crate) fn deployment(name: &str, replicas: u32, image: &str) -> String {
    format!(
        r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: {image}
        ports: [{{name: http, containerPort: 8080}}]
        env:
        - name: NODE_NAME
          valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}
        readinessProbe: {{httpGet: {{path: /readyz, port: http}}, periodSeconds: 1}}
        resources: {{requests: {{cpu: 50m, memory: 32Mi}}}}
        lifecycle: {{preStop: {{sleep: {{seconds: 1}}}}}}
"#
    )
}

/// A Service before it, and a route from the production listener.
pub(crate) fn service_and_route(name: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: devops-lab, sectionName: production}}]
  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]
"#
    )
}

/// All three.
pub(crate) fn manifests(name: &str, replicas: u32, image: &str) -> String {
    format!(
        "{}---\n{}",
        deployment(name, replicas, image),
        service_and_route(name)
    )
}

/// A directory to build: fetches the address in `?url=` and passes the answer on.
pub(crate) fn write_caller(directory: &Path) {
    let code = r#"export default {
  async fetch(request) {
    const url = request.query.get("url");
    if (url === null) return "ready to call\n";
    try {
      const answer = await fetch(url, { timeout: 5000 });
      return new Response(await answer.text(), { status: answer.status });
    } catch (error) {
      return new Response(String(error), { status: 502 });
    }
  },
};
"#;
    write_files(directory, &[("app.js", code), ("Dockerfile", DOCKERFILE)]);
}
