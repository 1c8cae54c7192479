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
        tour(&Kubectl {
            program: &program,
            server,
            home,
        })
        .await;
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
