//! A push to the registry updates what follows the image, whoever pushes.

use std::time::Duration;

use crate::app;
use crate::http::get;
use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::tools::{Tool, needs, offered};
use crate::wait::wait_for;

impl Lab {
    /// Waits until the application answers with this version.
    #[track_caller]
    fn answers_with(&self, version: &str) {
        let url = self.address("production");
        let limit = SOON + Duration::from_secs(30);
        wait_for(
            &format!("{url} answers with {version}"),
            limit,
            || match get(&url) {
                Ok(answer) if answer.member("version") == version => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(error.to_string()),
            },
        );
    }
}

#[test]
fn a_push_updates_the_deployment_that_follows_the_image_and_events_say_why() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("follow", &["1"]);
    let image = lab.push_app("1.0.0");
    lab.apply(&app::manifests("hello", 2, &image));
    lab.rolled_out("deployment/hello");
    let follow = |pairs: &[&str]| {
        lab.kubectl(&[&["annotate", "--overwrite", "deployment/hello"], pairs].concat());
    };
    follow(&["keel.sh/policy=minor"]);

    lab.push_app("2.0.0");
    let events = || lab.json_path(&["events"], "{.items[*].message}");
    wait_for("an event says why 2.0.0 is not taken", SOON, || {
        let events = events();
        if events.contains("policy minor: 2.0.0 is a major step from 1.0.0") {
            Ok(())
        } else {
            Err(events)
        }
    });
    lab.push_app("1.1.0");
    lab.answers_with("1.1.0");
    assert!(
        events().contains("1.0.0 -> 1.1.0 (policy minor"),
        "{}",
        events()
    );

    follow(&["keel.sh/approvals=1"]);
    let directory = lab.file("app");
    app::write(&directory, "1.2.0");
    let image = lab.push(&directory, "elsewhere", "1.2.0");
    let target = image.replace("elsewhere", "hello");
    if offered(Tool::Skopeo) {
        let mut copy = lab.command("skopeo");
        copy.args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .arg(format!("docker://{image}"))
            .arg(format!("docker://{target}"));
        run(copy).succeeded("skopeo copy");
    } else {
        lab.push_app("1.2.0");
    }
    wait_for("the update waits for its approval", SOON, || {
        let said = lab.devops_lab(&["image", "approve", "hello", "--by", "ada"]);
        match said.code {
            Some(0) => Ok(()),
            _ => Err(said.to_string()),
        }
    });
    lab.answers_with("1.2.0");
}

#[test]
fn a_push_updates_the_rollout_that_follows_the_image_step_by_step() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("followed", &["1"]);
    let image = lab.push_app("1.0.0");
    let rollout = app::deployment("hello", 2, &image)
        .replace("apiVersion: apps/v1", "apiVersion: argoproj.io/v1alpha1")
        .replace("kind: Deployment", "kind: Rollout")
        .replace(
            "  labels: {app: hello}\nspec:",
            "  labels: {app: hello}\n  annotations: {keel.sh/policy: minor}\nspec:\n  strategy: {canary: {steps: [{setWeight: 50}, {pause: {}}]}}",
        );
    lab.apply(&format!(
        "{rollout}---\n{}",
        app::service_and_route("hello")
    ));
    lab.answers_with("1.0.0");
    lab.wait_for_value(&["rollout/hello"], "{.status.phase}", "Healthy");
    lab.push_app("1.1.0");
    lab.wait_for_value(
        &["rollout/hello"],
        "{.status.phase} {.status.message}",
        "Paused CanaryPauseStep",
    );
    let image = lab.json_path(
        &["rollout/hello"],
        "{.spec.template.spec.containers[0].image}",
    );
    assert!(image.ends_with("hello:1.1.0"), "{image}");
    lab.ok(&["rollout", "promote", "hello"]);
    lab.wait_for_value(&["rollout/hello"], "{.status.phase}", "Healthy");
    lab.answers_with("1.1.0");
}
