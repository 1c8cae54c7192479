//! Going to a step from anywhere, going back to where it began, and having the rest done.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::Value;

use crate::lab::{KUBECTL, Lab, SOON, path_with_kubectl};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// A learner with a cluster of three nodes and a `kubectl`.
fn learner(topic: &str) -> Lab {
    let mut lab = Lab::started(topic, &["3"]);
    lab.set("PATH", &path_with_kubectl(&lab));
    lab
}

/// The verdict on a step.
#[track_caller]
fn verdict(lab: &Lab, step: &str) -> String {
    let said = lab.devops_lab(&["check", step, "-o", "json"]);
    let answer: Value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("check is not JSON ({error}): {said}"));
    answer["verdict"].as_str().unwrap_or_default().to_owned()
}

/// Names of all objects that a learner may have made.
fn objects(lab: &Lab) -> String {
    let kinds = "deployments,services,httproutes,configmaps,namespaces";
    lab.kubectl(&["get", kinds, "-o", "name"])
}

/// What was put aside, below the newest backup.
fn kept(lab: &Lab, file: &str) -> Option<String> {
    let mut backups: Vec<PathBuf> = std::fs::read_dir(lab.file(".devops-lab"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    backups.sort();
    std::fs::read_to_string(backups.last()?.join(Path::new(file))).ok()
}

#[test]
fn a_latecomer_is_brought_to_a_step_by_one_command_from_any_state() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = learner("latecomer");
    lab.ok(&["lab", "next"]);
    lab.write("hello/app.js", "mine");
    lab.write("diary.txt", "mine too");
    lab.kubectl(&["create", "configmap", "stray"]);
    lab.kubectl(&["create", "namespace", "shop"]);
    lab.kubectl(&["create", "deployment", "hello", "--image=nothing:1"]);
    lab.kubectl(&["cordon", "node-2"]);

    let said = lab.devops_lab(&["lab", "goto", "deploy/service"]);
    assert!(
        said.code == Some(1) && said.stderr.contains("--yes"),
        "{said}"
    );
    assert!(objects(&lab).contains("configmap/stray"), "{said}");

    let said = lab.ok(&["lab", "goto", "deploy/service", "--yes"]);
    assert!(
        said.contains(".devops-lab/backup-") && said.contains("lab next"),
        "{said}"
    );
    let there = objects(&lab);
    assert!(
        there.contains("deployment.apps/hello")
            && !there.contains("stray")
            && !there.contains("shop"),
        "{there}"
    );
    assert_eq!(kept(&lab, "hello/app.js").as_deref(), Some("mine"));
    let diary = std::fs::read_to_string(lab.file("diary.txt"));
    assert_eq!(diary.expect("her own file stays"), "mine too");
    lab.wait_for_value(&["node", "node-2"], "{.spec.unschedulable}", "");
    for (step, expected) in [
        ("image", "holds"),
        ("deployment", "holds"),
        ("service", "not-yet"),
    ] {
        assert_eq!(verdict(&lab, &format!("deploy/{step}")), expected, "{step}");
    }
    assert!(lab.ok(&["lab", "list"]).contains("3/8"));

    lab.ok(&["lab", "goto", "deploy/service", "--yes"]);
    assert_eq!(objects(&lab), there, "twice is the same");
    assert!(lab.ok(&["lab", "list"]).contains("3/8"));
}

#[test]
fn a_learner_without_a_cluster_is_told_how_to_get_one() {
    let lab = Lab::new("nowhere");
    for args in [
        &["lab", "goto", "deploy/service"][..],
        &["lab", "reset"],
        &["lab", "solve", "deploy", "--to", "image"],
    ] {
        let said = lab.devops_lab(args);
        assert!(
            said.code == Some(1) && said.stderr.contains("devops-lab start 3"),
            "{args:?}: {said}"
        );
    }
    let said = lab.devops_lab(&["lab", "goto", "deploy/nothing"]);
    assert!(said.stderr.contains("it has: look"), "{said}");
}

#[test]
fn what_is_left_is_solved_and_a_step_is_gone_back_to_with_everything_in_it() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = learner("reset");
    lab.ok(&["lab", "goto", "deploy/deployment", "--yes"]);
    let said = lab.ok(&["lab", "solve", "--to", "route"]);
    assert!(said.contains("deploy-three-replicas/route"), "{said}");
    assert_eq!(verdict(&lab, "deploy/route"), "holds");
    let said = lab.ok(&["lab", "solve", "--to", "route"]);
    assert!(said.contains("all done already"), "{said}");
    assert!(lab.ok(&["lab", "list"]).contains("5/8"));
    let revision = || lab.json_path(&["deployment", "hello"], "{.metadata.annotations}");
    let before = revision();

    // Everything that a step can be spoiled by.
    lab.kubectl(&["set", "image", "deployment/hello", "hello=nothing:1"]);
    lab.kubectl(&["delete", "service", "hello"]);
    lab.kubectl(&["label", "node", "node-1", "disk=fast"]);
    lab.push_app("9.0.0");
    lab.ok(&["node", "remove", "node-3"]);
    lab.ok(&["fault", "inject", "dns-break"]);
    lab.ok(&["traffic", "start"]);
    lab.write("hello/app.js", "spoiled");

    let said = lab.ok(&["lab", "reset", "deploy/route", "--yes", "--lang", "fr"]);
    assert!(said.contains("Ce que vous aviez est gardé dans"), "{said}");
    assert_eq!(kept(&lab, "hello/app.js").as_deref(), Some("spoiled"));
    let there = objects(&lab);
    assert!(
        there.contains("service/hello") && !there.contains("httproute"),
        "{there}"
    );
    assert_eq!(
        revision(),
        before,
        "the revisions are those that there were"
    );
    assert_eq!(
        lab.kubectl(&["get", "nodes", "-o", "name"]).lines().count(),
        3
    );
    assert_eq!(
        lab.json_path(&["node", "node-1"], "{.metadata.labels.disk}"),
        ""
    );
    let images = lab.ok(&["image", "ls"]);
    assert!(
        images.contains("1.0.0") && !images.contains("9.0.0"),
        "{images}"
    );
    assert!(lab.ok(&["fault", "status"]).contains("No fault"));
    for (step, expected) in [
        ("deployment", "holds"),
        ("service", "holds"),
        ("route", "not-yet"),
    ] {
        assert_eq!(verdict(&lab, &format!("deploy/{step}")), expected, "{step}");
    }
    assert!(lab.ok(&["lab", "list"]).contains("4/8"));

    // From here on it can be done as ever.
    lab.ok(&["lab", "solve", "--to", "heal"]);
    assert!(lab.ok(&["lab", "list"]).contains("6/8"));
}

#[test]
fn a_check_that_holds_first_keeps_how_the_next_step_begins_and_changes_nothing() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = learner("kept");
    lab.ok(&["lab", "goto", "deploy", "--yes"]);
    let everything = || {
        lab.kubectl(&[
            "get",
            "all,httproutes",
            "-A",
            "-o",
            "jsonpath={.items[*].metadata.resourceVersion}",
        ])
    };
    let begun = lab
        .home_of_cluster()
        .join("snapshots/deploy-three-replicas/look.json");
    assert!(begun.is_file(), "how the lab begins is kept");
    let before = everything();
    assert_eq!(verdict(&lab, "deploy/look"), "holds");
    assert_eq!(everything(), before);
    let kept = lab
        .home_of_cluster()
        .join("snapshots/deploy-three-replicas/image.json");
    assert!(kept.is_file());

    lab.push_app("1.0.0");
    assert_eq!(verdict(&lab, "deploy/image"), "holds");
    lab.ok(&["lab", "reset", "deploy/image", "--yes"]);
    assert_eq!(verdict(&lab, "deploy/image"), "not-yet");
}

/// `check --watch` in the background, what it says in a file.
struct Watching {
    child: Child,
    said: PathBuf,
}

impl Watching {
    fn begin(lab: &Lab, args: &[&str]) -> Self {
        let said = lab.file("watched");
        let out = File::create(&said).expect("a file can be made");
        let mut command = lab.program(&[&["check", "--watch"], args].concat());
        let child = command.stdout(out).spawn().expect("the program runs");
        Self { child, said }
    }

    /// Waits until it has said all of these, in this order.
    #[track_caller]
    fn says(&self, expected: &[&str]) {
        wait_for(&format!("{expected:?} is said"), SOON, || {
            let text = std::fs::read_to_string(&self.said).unwrap_or_default();
            let mut rest = text.as_str();
            for word in expected {
                match rest.split_once(word) {
                    Some((_, after)) => rest = after,
                    None => return Err(text),
                }
            }
            Ok(())
        });
    }

    fn ended(&mut self) -> Option<i32> {
        wait_for("the watching ends", SOON, || {
            match self.child.try_wait().expect("a child can be waited for") {
                Some(status) => Ok(status.code()),
                None => Err("it goes on".to_owned()),
            }
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_watched_check_says_so_when_it_holds_and_goes_on_to_the_next_step() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = learner("watched");
    lab.ok(&["lab", "goto", "deploy", "--yes"]);
    let mut watching = Watching::begin(&lab, &[]);
    watching.says(&["✓ nodes-ready", "✗ image-in-registry"]);
    lab.push_app("1.0.0");
    watching.says(&[
        "✗ image-in-registry",
        "✓ image-in-registry",
        "✗ deployment-available",
    ]);
    let text = std::fs::read_to_string(&watching.said).expect("it is there");
    assert!(
        !text.contains('\u{1b}'),
        "drawn over where there is no terminal: {text:?}"
    );
    assert_eq!(
        text.matches("✓ nodes-ready").count(),
        1,
        "said twice: {text}"
    );

    crate::process::interrupt(watching.child.id());
    assert_eq!(watching.ended(), Some(0));
}

#[test]
fn a_watched_check_follows_the_objects_of_the_cluster_and_may_end_once_it_holds() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = learner("follows");
    lab.ok(&["lab", "goto", "deploy/service", "--yes"]);
    let mut watching = Watching::begin(&lab, &["--until-holds", "deploy/service", "-o", "json"]);
    watching.says(&["\"verdict\":\"not-yet\""]);
    let manifest = lab.file("hello/k8s/service.yaml");
    lab.kubectl(&["apply", "-f", &manifest.display().to_string()]);
    watching.says(&["\"verdict\":\"holds\""]);
    assert_eq!(watching.ended(), Some(0));
}
