//! The cluster's registry with the clients that people have: docker, skopeo and our own.

use std::process::Command;

use serde_json::Value;

use crate::app;
use crate::lab::{KUBECTL, Lab, run};
use crate::tools::{Tool, needs};

/// Images as `image ls` lists them.
fn listed(lab: &Lab) -> Vec<(String, String)> {
    let images: Vec<Value> =
        serde_json::from_str(&lab.ok(&["image", "ls", "-o", "json"])).expect("JSON was asked for");
    let text = |image: &Value, member: &str| image[member].as_str().unwrap_or_default().to_owned();
    images
        .iter()
        .map(|image| (text(image, "image"), text(image, "digest")))
        .collect()
}

#[test]
fn built_images_are_pushed_once_and_listed() {
    let lab = Lab::started("images", &["1"]);
    let registry = lab.address("registry");
    let empty = lab.ok(&["image", "ls"]);
    assert!(
        empty.contains(&format!("The registry {registry} is empty.")),
        "{empty}"
    );

    let first = lab.push_app("1.0.0");
    let directory = lab.file("app").display().to_string();
    let again = lab.devops_lab(&["image", "push", &first]);
    assert_eq!(again.stderr.matches("  present  ").count(), 3, "{again}");
    assert!(
        !again.stderr.contains("  pushed   "),
        "what is there is not sent again: {again}"
    );
    let second = format!("{registry}/hello:same");
    let said = lab.devops_lab(&["image", "build", "-t", &second, "--push", &directory]);
    assert_eq!(said.code, Some(0), "{said}");
    let images = listed(&lab);
    assert_eq!(images.len(), 2, "{images:?}");
    assert_eq!(images[0].0, first);
    assert_eq!(
        images[0].1, images[1].1,
        "the same content has the same digest"
    );
    let table = lab.ok(&["image", "ls"]);
    assert!(
        table.starts_with("IMAGE") && table.contains(&first),
        "{table}"
    );
}

#[test]
fn docker_pushes_and_pulls() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::started("docker", &["1"]);
    let built = lab.push_app("1.0.0");
    docker(&["pull", &built]);
    let pushed = built.replace("hello:1.0.0", "copied:1");
    docker(&["tag", &built, &pushed]);
    docker(&["push", &pushed]);
    docker(&["rmi", &built, &pushed]);
    docker(&["pull", &pushed]);
    docker(&["rmi", &pushed]);
    // What docker pushed runs as well as what it was made from.
    lab.apply(&app::manifests("hello", 1, &pushed));
    lab.rolled_out("deployment/hello");
    lab.answers(&lab.address("production"), 1);
}

#[test]
fn docker_builds_on_the_base_image_and_pushes() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::started("base", &["1"]);
    let registry = lab.address("registry");
    lab.push_app("1.0.0");
    // docker takes the base image from the registry under its name there.
    let built = format!("{registry}/hello:1.0.0");
    let dockerfile = format!("FROM {built}\nENV LOG=off\n");
    let directory = lab.file("docker");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let image = format!("{registry}/derived:1");
    docker(&[
        "build",
        "-q",
        "-t",
        &image,
        &directory.display().to_string(),
    ]);
    docker(&["push", &image]);
    docker(&["rmi", &image]);
    lab.apply(&app::manifests("hello", 1, &image));
    lab.rolled_out("deployment/hello");
    lab.answers(&lab.address("production"), 1);
}

#[track_caller]
fn docker(args: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(args);
    run(command).succeeded(&format!("docker {}", args.join(" ")))
}

#[test]
fn skopeo_copies_in_and_out_and_inspects() {
    needs!(Tool::Skopeo);
    let lab = Lab::started("skopeo", &["1"]);
    let built = lab.push_app("1.0.0");
    let skopeo = |args: &[&str]| {
        let mut command = lab.command("skopeo");
        command.args(args);
        run(command).succeeded(&format!("skopeo {}", args.join(" ")))
    };
    let there = format!("docker://{built}");
    let copy = there.replace("hello:1.0.0", "deep/er/hello:copy");
    // Without this, skopeo compresses the layers, which makes another image of it.
    skopeo(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &there,
        &copy,
    ]);
    let out = format!("oci:{}:hello", lab.file("layout").display());
    skopeo(&[
        "copy",
        "--preserve-digests",
        "--src-tls-verify=false",
        &copy,
        &out,
    ]);
    let back = there.replace("hello:1.0.0", "back:1");
    skopeo(&[
        "copy",
        "--preserve-digests",
        "--dest-tls-verify=false",
        &out,
        &back,
    ]);
    let tags: Value = serde_json::from_str(&skopeo(&[
        "list-tags",
        "--tls-verify=false",
        &copy.replace(":copy", ""),
    ]))
    .unwrap();
    assert_eq!(tags["Tags"], serde_json::json!(["copy"]));
    let about: Value =
        serde_json::from_str(&skopeo(&["inspect", "--tls-verify=false", &back])).unwrap();
    let images = listed(&lab);
    assert_eq!(images.len(), 3, "{images:?}");
    assert!(
        images.iter().all(|(_, digest)| *digest == about["Digest"]),
        "{images:?} {about}"
    );
    skopeo(&["delete", "--tls-verify=false", &back]);
    assert_eq!(listed(&lab).len(), 2);
}

#[test]
fn garbage_is_what_no_tag_leads_to() {
    let lab = Lab::started("garbage", &["1"]);
    let image = lab.push_app("1.0.0");
    let nothing = lab.ok(&["registry", "gc"]);
    assert!(nothing.starts_with("Removed 0 blobs"), "{nothing}");
    // The same tag for other content leaves a layer, a configuration and a manifest behind.
    let directory = lab.file("app");
    app::write(&directory, "1.0.1");
    lab.push(&directory, "hello", "1.0.0");
    let young = lab.ok(&["registry", "gc"]);
    assert!(
        young.starts_with("Removed 0 blobs"),
        "a push may be going on: {young}"
    );
    assert!(young.contains("--grace 0"), "{young}");
    let dry = lab.ok(&["registry", "gc", "--grace", "0", "--dry-run"]);
    assert!(dry.starts_with("Would remove 3 blobs"), "{dry}");
    let collected = lab.ok(&["registry", "gc", "--grace", "0", "-o", "json"]);
    let collected: Value = serde_json::from_str(&collected).unwrap();
    assert_eq!(collected["blobs_removed"], 3, "{collected}");
    assert!(collected["bytes_freed"].as_u64() > Some(0), "{collected}");
    assert_eq!(listed(&lab)[0].0, image);
    let nothing = lab.ok(&["registry", "gc", "--grace", "0"]);
    assert!(nothing.starts_with("Removed 0 blobs"), "{nothing}");
}
