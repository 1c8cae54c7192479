//! Bundles as a teacher packs and a student loads them, and the class that hands them out.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::app;
use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::process;
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

/// What `class start` says, until it is told to end.
struct Class {
    child: Child,
    url: String,
    code: String,
}

impl Class {
    fn start(lab: &Lab, bundle: &str) -> Self {
        let mut command = lab.program(&[
            "class",
            "start",
            "--listen",
            "127.0.0.1:0",
            "--password",
            "correct horse",
            "--serve-bundle",
            bundle,
        ]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let line = out
            .lines()
            .map_while(Result::ok)
            .find(|line| line.contains("class join"))
            .expect("it says how to join");
        let word = |after: &str| {
            let rest = line.split_once(after).expect("the command is whole").1;
            rest.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            child,
            url: word("class join "),
            code: word("--code "),
        }
    }
}

impl Drop for Class {
    fn drop(&mut self) {
        process::interrupt(self.child.id());
        let _ = self.child.wait();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Starts a cluster in a home of its own, which knows nothing of what clusters of other homes are
/// about to take: once more where one was faster.
fn start_alone(lab: &Lab) {
    wait_for("a start beside other homes", SOON, || {
        let said = lab.devops_lab(&["start", "1", "--engine", "process", "--no-kubeconfig"]);
        let outrun = said.stderr.contains("in use") || said.stderr.contains("failed to listen");
        match said.code {
            Some(0) => Ok(()),
            _ if outrun => Err(said.to_string()),
            _ => panic!("{said}"),
        }
    });
}

#[test]
fn a_bundle_brings_program_labs_and_images_to_another_machine_and_feeds_the_class() {
    needs!(Tool::Kubectl(KUBECTL));
    let teacher = Lab::started("packs", &["1"]);
    let image = teacher.push_app("1.0.0");
    let mine = teacher.file("mine");
    teacher.ok(&[
        "lab",
        "new",
        "house-rules",
        "--dir",
        &mine.display().to_string(),
    ]);
    let bundle = teacher.file("class.bundle").display().to_string();
    let labs = mine.display().to_string();
    let said = teacher.devops_lab(&[
        "bundle", "create", &bundle, "--image", &image, "--labs", &labs,
    ]);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(said.stdout.contains("--serve-bundle"), "{said}");
    let listed: Value =
        serde_json::from_str(&teacher.ok(&["bundle", "ls", &bundle, "-o", "json"])).unwrap();
    assert_eq!(listed["images"][0]["name"], image);
    assert_eq!(listed["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(
        teacher
            .ok(&["bundle", "verify", &bundle])
            .contains("is whole")
    );
    let program = listed["entries"].as_array().unwrap().iter();
    let program = program
        .filter(|it| it["path"] == "program/devops-lab")
        .count();
    assert_eq!(program, 1);

    // A student downloads it from the class, and loads it.
    let class = Class::start(&teacher, &bundle);
    let student = Lab::in_private_home("loads");
    student.ok(&["bundle", "get", &class.url, "came.bundle"]);
    let bin = student.file("bin");
    let load = [
        "bundle",
        "load",
        "came.bundle",
        "--bin",
        &bin.display().to_string(),
    ];
    let said = student.devops_lab(&load);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(said.stdout.contains("is not on your PATH"), "{said}");
    let version = run(student.command(&bin.join("devops-lab").display().to_string()));
    assert_eq!(version.code, Some(0), "{version}");
    let folder = names(&student.home().join("labs"));
    assert!(
        folder.iter().any(|name| name.contains("house-rules")),
        "{folder:?}"
    );
    let again = student.ok(&load);
    assert!(
        again.contains("was there already") && !again.contains("(new)"),
        "{again}"
    );
    std::fs::remove_file(student.file("came.bundle")).unwrap();
    std::fs::remove_file(bin.join("devops-lab")).unwrap();
    start_alone(&student);
    let images = student.ok(&["image", "ls"]);
    assert!(images.contains("/hello:1.0.0"), "{images}");

    // Another one has only joined: what runs on her cluster comes from the class.
    let joined = Lab::in_private_home("joined");
    start_alone(&joined);
    let join = [
        "class",
        "join",
        &class.url,
        "--code",
        &class.code,
        "--name",
        "Ada",
    ];
    joined.ok(&join);
    let here = format!("{}/hello:1.0.0", joined.address("registry"));
    let images = joined.ok(&["image", "ls"]);
    assert!(images.contains("is empty"), "{images}");
    joined.apply(&app::manifests("hello", 2, &here));
    joined.rolled_out("deployment/hello");
    let images = joined.ok(&["image", "ls"]);
    assert!(images.contains(&here), "{images}");
    joined.ok(&["class", "leave"]);
}

#[test]
fn too_small_a_disk_is_said_before_anything_is_written() {
    needs!(Tool::Mount);
    let lab = Lab::new("small-disk");
    let small = lab.file("small");
    std::fs::create_dir_all(&small).unwrap();
    let small = small.display().to_string();
    let create = lab.program(&["bundle", "create", &format!("{small}/class.bundle")]);
    let script = format!(
        "mount -t tmpfs -o size=1m none {small} && \"$@\"; code=$?; find {small} -mindepth 1; exit $code"
    );
    let mut command = lab.command("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(create.get_program())
        .args(create.get_args());
    let said = run(command);
    assert_eq!(said.code, Some(1), "{said}");
    assert!(said.stderr.contains("not enough disk space"), "{said}");
    assert!(said.stderr.contains("1048576 are free"), "{said}");
    assert_eq!(said.stdout, "", "files are left");
}

#[test]
fn a_bundle_that_is_interrupted_leaves_nothing() {
    let lab = Lab::new("interrupted-bundle");
    let dir = lab.file("out");
    std::fs::create_dir_all(&dir).unwrap();
    wait_for("a bundle that is interrupted in the middle", SOON, || {
        let mut create = lab.program(&["bundle", "create", "out/class.bundle"]);
        let create = create
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("something is begun", SOON, || !names(&dir).is_empty());
        process::interrupt(create.id());
        let ended = create.wait_with_output().unwrap();
        if ended.status.success() {
            std::fs::remove_file(dir.join("class.bundle")).unwrap();
            return Err("it had ended already".to_owned());
        }
        assert_eq!(ended.status.code(), Some(130), "{:?}", ended.stderr);
        Ok(())
    });
    assert_eq!(names(&dir), [""; 0]);
}

#[test]
fn what_cannot_be_packed_or_loaded_says_what_to_do() {
    let lab = Lab::new("bad-bundle");
    let text = lab.write("notes.txt", "no bundle at all");
    for args in [
        &["bundle", "verify", &text][..],
        &["bundle", "load", &text],
        &["bundle", "ls", &text],
    ] {
        let said = lab.devops_lab(args);
        assert_eq!(said.code, Some(1), "{said}");
        assert!(said.stderr.contains("is no bundle of devops-lab"), "{said}");
    }
    let said = lab.devops_lab(&["bundle", "create", "x.bundle", "--labs", "."]);
    assert!(said.stderr.contains("lab.yaml"), "{said}");
    let said = lab.devops_lab(&["bundle", "create", "nowhere/x.bundle"]);
    assert!(said.stderr.contains("nowhere is no directory"), "{said}");
    let said = lab.devops_lab(&["bundle", "create", "x.bundle", "--image", "Bad Name"]);
    assert!(said.stderr.contains("is not valid"), "{said}");
    let said = lab.devops_lab(&["bundle", "get", "ftp://somewhere"]);
    assert!(said.stderr.contains("no address of a class"), "{said}");
    let said = lab.devops_lab(&["bundle", "load", &text, "--name", "absent"]);
    assert!(said.stderr.contains("there is no cluster"), "{said}");
}

#[test]
fn an_image_of_the_docker_daemon_is_packed_with_compressed_layers() {
    needs!(Tool::Docker);
    let lab = Lab::new("docker-bundle");
    std::fs::create_dir_all(lab.file("image")).unwrap();
    std::fs::write(lab.file("image/zeros"), vec![0; 4_000_000]).unwrap();
    lab.write("image/Dockerfile", "FROM scratch\nCOPY zeros /zeros\n");
    let tag = format!("devops-lab-test/{}:1", lab.name);
    let docker = |args: &[&str]| {
        let mut command = lab.command("docker");
        command.args(args);
        run(command)
    };
    docker(&["build", "-q", "-t", &tag, "image"]).succeeded("docker build");
    let said = lab.devops_lab(&["bundle", "create", "class.bundle", "--image", &tag]);
    docker(&["rmi", &tag]);
    assert_eq!(said.code, Some(0), "{said}");
    let listed: Value =
        serde_json::from_str(&lab.ok(&["bundle", "ls", "class.bundle", "-o", "json"])).unwrap();
    let image = &listed["images"][0];
    assert_eq!(image["name"], format!("docker.io/{tag}"));
    assert!(image["size"].as_u64().unwrap() < 100_000, "{image}");
    let said = lab.devops_lab(&["bundle", "create", "class.bundle", "--image", &tag]);
    assert!(
        said.stderr.contains(&format!("docker pull {tag}")),
        "{said}"
    );
}
