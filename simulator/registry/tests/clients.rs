//! The registry as real clients see it. A missing tool skips its test with a word about it,
//! except under `CI=true`, where everything has to be there.
#![expect(clippy::unwrap_used, reason = "a test ends by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::Lab;

/// Serves a registry on a free port of loopback and returns `localhost:PORT`.
async fn serve(lab: &Lab) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let router = lab.registry.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("localhost:{}", address.port())
}

/// True where `program arguments` succeeds; otherwise says that the test is skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn available(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{program} is needed in CI"
        );
        println!(
            "skipped: {program} {} does not work here",
            arguments.join(" ")
        );
    }
    works
}

/// Runs a command to its end, which has to be a good one, and returns what it printed.
async fn run(program: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text} {errors}"
    );
    text
}

/// Writes a tar archive with one file and returns its path.
fn archive(dir: &Path) -> String {
    std::fs::write(dir.join("hello.txt"), "hello").unwrap();
    let path = dir.join("layer.tar").display().to_string();
    let status = Command::new("tar")
        .args(["-C", &dir.display().to_string(), "-cf", &path, "hello.txt"])
        .status();
    assert!(status.unwrap().success());
    path
}

#[tokio::test]
async fn docker_pushes_and_pulls() {
    if !available("docker", &["version"]) {
        return;
    }
    let lab = Lab::new();
    let host = serve(&lab).await;
    let scratch = tempfile::tempdir().unwrap();
    let image = format!("{host}/team/hello:1.0");
    let id = run("docker", &["import", &archive(scratch.path()), &image]).await;
    run("docker", &["push", &image]).await;
    // A second tag of the same image and a second repository with the same layer.
    let other = format!("{host}/other:1.0");
    run("docker", &["tag", &image, &other]).await;
    run("docker", &["push", &other]).await;
    run("docker", &["rmi", &image, &other]).await;
    run("docker", &["pull", &image]).await;
    let pulled = run("docker", &["inspect", "--format", "{{.Id}}", &image]).await;
    run("docker", &["rmi", &image]).await;
    assert_eq!(pulled, id);
    let catalog = lab.get("/v2/_catalog").await.json();
    assert_eq!(
        catalog["repositories"],
        serde_json::json!(["other", "team/hello"])
    );
}

#[tokio::test]
async fn skopeo_copies_in_and_out() {
    if !available("skopeo", &["--version"]) {
        return;
    }
    let lab = Lab::new();
    let host = serve(&lab).await;
    let scratch = tempfile::tempdir().unwrap();
    let layout = scratch.path().join("in");
    write_layout(&layout, &archive(scratch.path()));
    let from = format!("oci:{}:1.0", layout.display());
    let there = format!("docker://{host}/team/hello:1.0");
    let back = format!("dir:{}", scratch.path().join("out").display());
    let insecure = "--insecure-policy";
    run(
        "skopeo",
        &[insecure, "copy", "--dest-tls-verify=false", &from, &there],
    )
    .await;
    run(
        "skopeo",
        &[insecure, "copy", "--src-tls-verify=false", &there, &back],
    )
    .await;
    let tags = run(
        "skopeo",
        &[
            "list-tags",
            "--tls-verify=false",
            &there.replace(":1.0", ""),
        ],
    )
    .await;
    assert!(tags.contains("\"1.0\""), "{tags}");
    run("skopeo", &["delete", "--tls-verify=false", &there]).await;
    lab.get("/v2/team/hello/manifests/1.0")
        .await
        .is(404, "MANIFEST_UNKNOWN");
}

/// Writes an OCI image layout with one image of one layer.
fn write_layout(layout: &Path, layer: &str) {
    let blobs = layout.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |content: &[u8]| {
        let digest = support::sha256(content);
        std::fs::write(blobs.join(digest.trim_start_matches("sha256:")), content).unwrap();
        (digest, content.len())
    };
    let descriptor = |kind: &str, (digest, size): &(String, usize)| serde_json::json!({"mediaType": kind, "digest": digest, "size": size});
    let layer = put(&std::fs::read(layer).unwrap());
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.0]},
    });
    let config = put(config.to_string().as_bytes());
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": support::MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    let manifest = put(manifest.to_string().as_bytes());
    let mut entry = descriptor(support::MANIFEST, &manifest);
    entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": "1.0"});
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [entry]});
    std::fs::write(layout.join("index.json"), index.to_string()).unwrap();
    std::fs::write(
        layout.join("oci-layout"),
        "{\"imageLayoutVersion\":\"1.0.0\"}",
    )
    .unwrap();
}
