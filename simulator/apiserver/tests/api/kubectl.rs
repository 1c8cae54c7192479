//! Real kubectl against the router on a loopback port.
//!
//! Where no kubectl is installed the test says so and passes, except in CI.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::support::Api;

const VERSIONS: [&str; 3] = ["kubectl-1.32", "kubectl-1.36", "kubectl"];

const MANIFEST: &str = "\
apiVersion: v1
kind: ConfigMap
metadata:
  name: greeting
data:
  text: hello
";

/// The first kubectl of each name on the PATH.
fn installed() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let find = |name: &str| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    };
    VERSIONS.iter().filter_map(|name| find(name)).collect()
}

struct Kubectl<'a> {
    program: &'a Path,
    server: String,
    home: tempfile::TempDir,
}

impl Kubectl<'_> {
    async fn output(&self, arguments: &[&str]) -> Output {
        Command::new(self.program)
            .args(["--server", &self.server])
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .output()
            .await
            .unwrap()
    }

    /// Runs a command that must succeed.
    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let (out, err) = texts(&output);
        assert!(
            output.status.success(),
            "{:?} {arguments:?}: {out}{err}",
            self.program
        );
        out
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn kubectl_applies_labels_reads_and_deletes() {
    with_each_kubectl(tour).await;
}

#[tokio::test]
async fn kubectl_creates_objects_from_its_command_line() {
    with_each_kubectl(creations).await;
}

#[tokio::test]
async fn kubectl_drives_a_deployment() {
    with_each_kubectl(deployment).await;
}

#[tokio::test]
async fn kubectl_applies_and_reads_a_kind_in_both_of_its_versions() {
    with_each_kubectl(both_versions).await;
}

#[tokio::test]
async fn kubectl_is_told_that_it_may_do_everything() {
    with_each_kubectl(rights).await;
}

/// Runs a test against a new server, once for each kubectl.
#[expect(
    clippy::print_stdout,
    reason = "whoever runs the tests should know what was skipped"
)]
async fn with_each_kubectl(test: impl AsyncFn(&Kubectl<'_>)) {
    let programs = installed();
    if programs.is_empty() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must have kubectl installed"
        );
        println!("skipped: no kubectl on the PATH");
        return;
    }
    for program in programs {
        let api = Api::new().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(axum::serve(listener, api.router.clone()).into_future());
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("greeting.yaml"), MANIFEST).unwrap();
        let kubectl = Kubectl {
            program: &program,
            server,
            home,
        };
        test(&kubectl).await;
        api.stop.cancel();
        serving.abort();
    }
}

async fn tour(kubectl: &Kubectl<'_>) {
    let applied = kubectl.run(&["apply", "-f", "greeting.yaml"]).await;
    assert_eq!(applied, "configmap/greeting created\n");
    let again = kubectl.run(&["apply", "-f", "greeting.yaml"]).await;
    assert_eq!(again, "configmap/greeting unchanged\n");
    let labelled = kubectl
        .run(&["label", "configmap", "greeting", "course=devops"])
        .await;
    assert_eq!(labelled, "configmap/greeting labeled\n");

    let table = kubectl
        .run(&["get", "cm", "-l", "course=devops", "--show-labels"])
        .await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[0].contains("DATA") && lines[0].ends_with("LABELS"),
        "{table}"
    );
    assert!(
        lines[1].starts_with("greeting   1") && lines[1].ends_with("course=devops"),
        "{table}"
    );
    let text = kubectl
        .run(&["get", "cm/greeting", "-o", "jsonpath={.data.text}"])
        .await;
    assert_eq!(text, "hello");

    let changed = MANIFEST.replace("hello", "goodbye");
    std::fs::write(kubectl.home.path().join("greeting.yaml"), changed).unwrap();
    let diff = kubectl.output(&["diff", "-f", "greeting.yaml"]).await;
    assert_eq!(diff.status.code(), Some(1), "{:?}", texts(&diff));
    let applied = kubectl.run(&["apply", "-f", "greeting.yaml"]).await;
    assert_eq!(applied, "configmap/greeting configured\n");
    let applied = kubectl
        .run(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "greeting.yaml",
        ])
        .await;
    assert_eq!(applied, "configmap/greeting serverside-applied\n");

    let typo = MANIFEST
        .replace("\ndata:", "\ndara:")
        .replace("greeting", "typo");
    std::fs::write(kubectl.home.path().join("typo.yaml"), typo).unwrap();
    let refused = kubectl.output(&["apply", "-f", "typo.yaml"]).await;
    let (_, error) = texts(&refused);
    assert!(
        error.contains("strict decoding error: unknown field \"dara\""),
        "{error}"
    );

    // Waits through an informer until the object is gone.
    let deleted = kubectl
        .run(&["delete", "cm", "greeting", "--timeout=20s"])
        .await;
    assert!(
        deleted.starts_with("configmap \"greeting\" deleted"),
        "{deleted}"
    );
    let missing = kubectl.output(&["get", "cm", "greeting"]).await;
    let (_, error) = texts(&missing);
    assert_eq!(
        error,
        "Error from server (NotFound): configmaps \"greeting\" not found\n"
    );
    let empty = kubectl.output(&["get", "pods", "-n", "nowhere"]).await;
    assert_eq!(
        texts(&empty).1,
        "No resources found in nowhere namespace.\n"
    );
}

/// These commands send protobuf.
async fn creations(kubectl: &Kubectl<'_>) {
    let cases: [(&[&str], &str); 9] = [
        (&["namespace", "lab"], "namespace/lab created"),
        (
            &[
                "deployment",
                "web",
                "--image=hello:1",
                "--replicas=2",
                "--port=8080",
                "--",
                "serve",
                "-v",
            ],
            "deployment.apps/web created",
        ),
        (
            &["configmap", "settings", "--from-literal=color=blue"],
            "configmap/settings created",
        ),
        (
            &["secret", "generic", "key", "--from-literal=password=s3cret"],
            "secret/key created",
        ),
        (&["job", "once", "--image=x"], "job.batch/once created"),
        (
            &["ingress", "web", "--rule=a.example/*=web:80,tls=key"],
            "ingress.networking.k8s.io/web created",
        ),
        (&["serviceaccount", "robot"], "serviceaccount/robot created"),
        (
            &["service", "clusterip", "web", "--tcp=80:8080"],
            "service/web created",
        ),
        (
            &[
                "service",
                "nodeport",
                "door",
                "--tcp=80:http",
                "--node-port=30080",
            ],
            "service/door created",
        ),
    ];
    for (arguments, expected) in cases {
        let created = kubectl.run(&[&["create"], arguments].concat()).await;
        assert_eq!(created.trim_end(), expected);
    }
    let reads = [
        (
            "deploy/web",
            "{.spec.replicas} {.spec.selector.matchLabels.app}",
            "2 web",
        ),
        (
            "deploy/web",
            "{.spec.template.spec.containers[0].command}",
            r#"["serve","-v"]"#,
        ),
        (
            "deploy/web",
            "{.spec.template.spec.containers[0].ports[0].containerPort}",
            "8080",
        ),
        ("cm/settings", "{.data.color}", "blue"),
        ("secret/key", "{.data.password} {.type}", "czNjcmV0 Opaque"),
        (
            "svc/web",
            "{.spec.ports[0].name} {.spec.ports[0].targetPort} {.spec.selector.app}",
            "80-8080 8080 web",
        ),
        (
            "svc/door",
            "{.spec.ports[0].nodePort} {.spec.ports[0].targetPort}",
            "30080 http",
        ),
        (
            "job/once",
            "{.spec.template.spec.containers[0].image} {.spec.template.spec.restartPolicy}",
            "x Never",
        ),
        (
            "ingress/web",
            "{.spec.rules[0].host} {.spec.rules[0].http.paths[0].path} {.spec.rules[0].http.paths[0].pathType} {.spec.rules[0].http.paths[0].backend.service.name}:{.spec.rules[0].http.paths[0].backend.service.port.number} {.spec.tls[0].secretName}",
            "a.example / Prefix web:80 key",
        ),
    ];
    for (object, path, expected) in reads {
        let output = format!("jsonpath={path}");
        assert_eq!(
            kubectl.run(&["get", object, "-o", &output]).await,
            expected,
            "{object} {path}"
        );
    }
    let refused = kubectl
        .output(&["create", "deployment", "web", "--image=x"])
        .await;
    let (_, error) = texts(&refused);
    assert!(
        error.contains("deployments.apps \"web\" already exists"),
        "{error}"
    );
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: 'hello:1', resources: {limits: {cpu: 1}}}
";

/// Nothing runs here: only what kubectl asks of the API itself.
async fn deployment(kubectl: &Kubectl<'_>) {
    std::fs::write(kubectl.home.path().join("web.yaml"), DEPLOYMENT).unwrap();
    let runs: [(&[&str], &str); 9] = [
        (&["apply", "-f", "web.yaml"], "deployment.apps/web created"),
        (
            &["scale", "deploy/web", "--replicas=5"],
            "deployment.apps/web scaled",
        ),
        (
            &["set", "image", "deploy/web", "web=hello:2"],
            "deployment.apps/web image updated",
        ),
        (
            &["set", "env", "deploy/web", "COLOR=blue"],
            "deployment.apps/web env updated",
        ),
        (
            &["annotate", "deploy/web", "note=yes"],
            "deployment.apps/web annotated",
        ),
        (
            &["rollout", "restart", "deploy/web"],
            "deployment.apps/web restarted",
        ),
        (
            &["rollout", "pause", "deploy/web"],
            "deployment.apps/web paused",
        ),
        (
            &[
                "patch",
                "deploy",
                "web",
                "--subresource=scale",
                "--type=merge",
                "-p",
                r#"{"spec":{"replicas":2}}"#,
            ],
            "scale.autoscaling/web patched",
        ),
        (
            &["expose", "deploy", "web", "--port=80"],
            "service/web exposed",
        ),
    ];
    for (arguments, expected) in runs {
        let out = kubectl.run(arguments).await;
        // Versions differ in how they name a patched scale.
        let first = out.lines().next().unwrap_or_default();
        let same =
            first == expected || (first.ends_with("patched") && expected.ends_with("patched"));
        assert!(same, "{arguments:?}: {out}");
    }
    let table = kubectl.run(&["get", "deploy", "-o", "wide"]).await;
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..4], ["web", "0/2", "0", "0"], "{table}");
    assert_eq!(cells[5..], ["web", "hello:2", "app=web"], "{table}");
    let described = kubectl.run(&["describe", "deploy", "web"]).await;
    assert!(
        ["hello:2", "COLOR:"]
            .iter()
            .all(|text| described.contains(text)),
        "{described}"
    );
    let all = kubectl.run(&["get", "all"]).await;
    assert!(
        all.contains("deployment.apps/web") && all.contains("service/web"),
        "{all}"
    );
    let deleted = kubectl
        .run(&["delete", "-f", "web.yaml", "--timeout=20s"])
        .await;
    assert!(
        deleted.starts_with("deployment.apps \"web\" deleted"),
        "{deleted}"
    );
}

async fn rights(kubectl: &Kubectl<'_>) {
    let may = kubectl.run(&["auth", "can-i", "create", "pods"]).await;
    assert_eq!(may, "yes\n");
    let list = kubectl.run(&["auth", "can-i", "--list"]).await;
    let everything = ["*.*", "[]", "[]", "[*]"];
    assert!(
        list.lines()
            .any(|line| line.split_whitespace().eq(everything)),
        "{list}"
    );
    let name = "{.status.userInfo.username}";
    let who = kubectl
        .run(&["auth", "whoami", "-o", &format!("jsonpath={name}")])
        .await;
    assert_eq!(who, "devops-lab");
}

async fn both_versions(kubectl: &Kubectl<'_>) {
    let manifest = |version: &str, kind: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/{version}\n\
             kind: ReferenceGrant\n\
             metadata: {{name: grant}}\n\
             spec:\n  \
               from: [{{group: gateway.networking.k8s.io, kind: {kind}, namespace: web}}]\n  \
               to: [{{group: '', kind: Service}}]\n"
        )
    };
    let file = kubectl.home.path().join("grant.yaml");
    for (version, kind, said) in [
        ("v1beta1", "HTTPRoute", "created"),
        ("v1", "HTTPRoute", "configured"),
        ("v1", "GRPCRoute", "configured"),
        ("v1beta1", "GRPCRoute", "configured"),
    ] {
        std::fs::write(&file, manifest(version, kind)).unwrap();
        let out = kubectl.run(&["apply", "-f", "grant.yaml"]).await;
        // Only the annotation of what was applied last may differ, by the version in it.
        assert!(
            out.contains(said) || out.contains("unchanged"),
            "{version}: {out}"
        );
        for (asked, expected) in [
            ("referencegrants", "gateway.networking.k8s.io/v1"),
            (
                "referencegrants.v1beta1.gateway.networking.k8s.io",
                "gateway.networking.k8s.io/v1beta1",
            ),
        ] {
            let path = "jsonpath={.apiVersion} {.spec.from[0].kind}";
            let out = kubectl.run(&["get", asked, "grant", "-o", path]).await;
            assert_eq!(out, format!("{expected} {kind}"));
        }
        let table = kubectl.run(&["get", "refgrant"]).await;
        assert!(table.contains("grant"), "{table}");
    }
    kubectl.run(&["delete", "-f", "grant.yaml"]).await;
    let left = kubectl.run(&["get", "refgrant", "-o", "name"]).await;
    assert_eq!(left, "");
}
