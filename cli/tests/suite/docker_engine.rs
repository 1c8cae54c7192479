//! The main job on Docker, and the deaths that only containers die.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use testcontainers::GenericImage;
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::SyncRunner;

use crate::app;
use crate::http::{Traffic, get};
use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

/// Containers take longer than processes, and the first start builds the system image.
const LATER: Duration = Duration::from_secs(60);

/// Everything of Docker's that belongs to the cluster, by kind and name.
fn belongings(lab: &Lab) -> BTreeSet<String> {
    let filter = label(lab);
    let list = |args: &[&str], kind: &str| {
        let names = docker(&[args, &["--filter", &filter]].concat());
        names
            .lines()
            .map(|name| format!("{kind} {name}"))
            .collect::<Vec<_>>()
    };
    let mut all = list(&["ps", "--all", "--format", "{{.Names}}"], "container");
    all.extend(list(&["network", "ls", "--format", "{{.Name}}"], "network"));
    all.extend(list(&["volume", "ls", "--format", "{{.Name}}"], "volume"));
    all.into_iter().collect()
}

/// The filter that chooses what belongs to the cluster.
fn label(lab: &Lab) -> String {
    format!("label=devops-lab.cluster={}", lab.name)
}

#[track_caller]
fn docker(args: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(args);
    run(command).succeeded(&format!("docker {}", args.join(" ")))
}

/// The container of a part, as status names it.
#[track_caller]
fn container(lab: &Lab, part: &str) -> String {
    let status = lab.status();
    let parts = status["components"]
        .as_array()
        .expect("status lists the parts");
    let part = parts
        .iter()
        .find(|candidate| candidate["name"] == part)
        .expect("the part exists");
    let handle = part["handle"].as_str().expect("a part has a handle");
    handle.trim_start_matches("container ").to_owned()
}

fn start(lab: &Lab, args: &[&str]) -> String {
    lab.ok(&[&["start", "--no-kubeconfig"], args].concat())
}

#[test]
fn three_replicas_answer_are_updated_and_leave_nothing() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("dmain");
    let said = start(&lab, &["3", "--engine", "docker"]);
    assert!(
        said.contains("is up: 3 nodes on the docker engine"),
        "{said}"
    );
    let again = start(&lab, &["3"]);
    assert!(again.contains("nothing to do"), "{again}");
    let url = lab.deploy_hello();
    let on = lab.json_path(&["pods", "-l", "app=hello"], "{.items[*].spec.nodeName}");
    assert_eq!(
        on.split(' ').collect::<BTreeSet<_>>(),
        BTreeSet::from(["node-1", "node-2", "node-3"])
    );

    let second = lab.push_app("2.0.0");
    let traffic = Traffic::on(&url);
    lab.kubectl(&["set", "image", "deployment/hello", &format!("app={second}")]);
    lab.rolled_out("deployment/hello");
    wait_until("the new version alone answers", SOON, || {
        (0..6).all(|_| get(&url).is_ok_and(|answer| answer.member("version") == "2.0.0"))
    });
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert!(seen.answered > 100, "{seen:?}");
    assert!(
        lab.kubectl(&["logs", "deployment/hello", "--tail", "1"])
            .lines()
            .count()
            == 1
    );

    let before = belongings(&lab);
    assert!(before.len() > 6, "{before:?}");
    lab.ok(&["stop"]);
    let status = lab.devops_lab(&["status"]);
    assert!(status.stdout.contains("stopped"), "{status}");
    start(&lab, &[]);
    lab.answers(&url, 3);
    assert_eq!(get(&url).unwrap().member("version"), "2.0.0");
    lab.ok(&["delete"]);
    assert_eq!(belongings(&lab), BTreeSet::new());
    assert!(!lab.home_of_cluster().exists());
}

#[test]
fn a_killed_nodes_pods_die_with_it_and_come_up_elsewhere() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("dnode");
    start(&lab, &["3", "--engine", "docker", "--speed", "40"]);
    let url = lab.deploy_hello();
    docker(&["kill", &container(&lab, "node-2")]);
    let ready = "{.status.conditions[?(@.type=='Ready')].status}";
    lab.wait_for_value(&["node/node-2"], ready, "Unknown");
    wait_for("three pods on two nodes", LATER, || {
        let nodes = lab.json_path(
            &["pods", "--field-selector", "status.phase=Running"],
            "{.items[*].spec.nodeName}",
        );
        let live = nodes
            .split(' ')
            .filter(|node| !node.is_empty() && *node != "node-2")
            .count();
        if live == 3 { Ok(()) } else { Err(nodes) }
    });
    lab.answers(&url, 3);
    lab.ok(&["node", "start", "node-2"]);
    lab.wait_for_value(&["node/node-2"], ready, "True");
    lab.kubectl(&["scale", "deployment/hello", "--replicas", "6"]);
    lab.rolled_out("deployment/hello");
    lab.answers(&url, 6);
    lab.ok(&["node", "remove", "node-3"]);
    wait_for("six pods on the nodes that are left", LATER, || {
        let nodes = lab.json_path(
            &["pods", "--field-selector", "status.phase=Running"],
            "{.items[*].spec.nodeName}",
        );
        let good = nodes
            .split(' ')
            .filter(|node| ["node-1", "node-2"].contains(node))
            .count();
        if good == 6 { Ok(()) } else { Err(nodes) }
    });
}

#[test]
fn start_repairs_whatever_was_killed() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("drepair");
    start(&lab, &["2", "--engine", "docker", "--speed", "20"]);
    let image = lab.push_app("1.0.0");
    lab.apply(&app::manifests("hello", 2, &image));
    lab.rolled_out("deployment/hello");
    let url = lab.address("production");
    lab.answers(&url, 2);
    let identity = || {
        let uids = lab.json_path(
            &["deployments,services,nodes,httproutes"],
            "{.items[*].metadata.uid}",
        );
        (
            uids,
            lab.status()["addresses"].clone(),
            lab.ok(&["image", "ls", "-o", "json"]),
        )
    };
    let before = identity();
    for part in ["control-plane", "gateway", "registry"] {
        lab.kubectl(&["create", "configmap", part]);
        docker(&["kill", &container(&lab, part)]);
        let said = start(&lab, &[]);
        assert!(said.contains(part), "{said}");
        lab.answers(&url, 2);
        assert_eq!(identity(), before, "after the death of {part}");
        lab.kubectl(&["get", "configmap", part]);
    }
    let running = docker(&["ps", "--format", "{{.Names}}", "--filter", &label(&lab)]);
    assert!(
        running.lines().count() >= 7,
        "five parts and two pods run: {running}"
    );
    // A reboot: everything at once. Some die of the death of others before their turn.
    let mut kill = Command::new("docker");
    kill.arg("kill").args(running.lines());
    run(kill);
    assert_eq!(
        docker(&["ps", "--format", "{{.Names}}", "--filter", &label(&lab)]),
        ""
    );
    start(&lab, &[]);
    lab.answers(&url, 2);
    assert_eq!(identity(), before, "after a reboot");
}

#[test]
fn a_new_cluster_never_runs_an_image_of_an_old_one() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("dstale");
    for version in ["1.0.0", "2.0.0"] {
        start(&lab, &["1", "--engine", "docker"]);
        // The same name each time, for the second cluster takes the first one's ports.
        let directory = lab.file("app");
        app::write(&directory, version);
        let image = lab.push(&directory, "hello", "latest-lesson");
        lab.apply(&app::manifests("hello", 1, &image));
        lab.rolled_out("deployment/hello");
        let url = lab.address("production");
        lab.answers(&url, 1);
        assert_eq!(get(&url).unwrap().member("version"), version);
        lab.ok(&["delete"]);
    }
}

#[test]
fn an_image_that_was_built_and_never_pushed_is_not_run() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("dbuilt");
    start(&lab, &["1", "--engine", "docker", "--speed", "20"]);
    let pushed = lab.push_app("1.0.0");
    docker(&["pull", &pushed]);
    let directory = lab.file("built");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(
        directory.join("Dockerfile"),
        format!("FROM {pushed}\nENV LOG=off\n"),
    )
    .unwrap();
    let built = pushed.replace("hello:1.0.0", "built:1");
    docker(&[
        "build",
        "-q",
        "-t",
        &built,
        &directory.display().to_string(),
    ]);
    lab.kubectl(&["run", "built", "--image", &built]);
    let message = "{.status.containerStatuses[0].state.waiting.message}";
    wait_for("the way to push it is named", SOON, || {
        let found = lab.json_path(&["pod/built"], message);
        if found
            .to_lowercase()
            .contains(&format!("docker push {built}"))
        {
            Ok(())
        } else {
            Err(found)
        }
    });
    docker(&["push", &built]);
    lab.wait_for_value(&["pod/built"], "{.status.phase}", "Running");
    lab.ok(&["delete"]);
    docker(&["rmi", &built, &pushed]);
}

#[test]
fn a_students_image_serves_in_plain_docker_too() {
    needs!(Tool::Docker);
    let lab = Lab::new("dplain");
    // A start brings the base image that the Dockerfile names.
    start(&lab, &["1", "--engine", "docker"]);
    let directory = lab.file("plain");
    std::fs::create_dir_all(&directory).expect("the test's directory can be made");
    app::write(&directory, "1.0.0");
    let path = directory.to_str().expect("the test's path is text");
    let image = format!("devops-lab-test/{}:1.0.0", lab.name);
    docker(&["build", "--quiet", "--tag", &image, path]);
    let (name, tag) = image.split_once(':').expect("the name has a tag");
    let container = GenericImage::new(name, tag)
        .with_exposed_port(8080.tcp())
        .with_wait_for(WaitFor::message_on_stdout("listens on"))
        .start()
        .expect("the image runs");
    let port = container
        .get_host_port_ipv4(8080)
        .expect("its port is published");
    let answer = get(&format!("http://127.0.0.1:{port}/")).expect("it answers");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("1.0.0"), "{}", answer.body);
    drop(container);
    docker(&["rmi", "--force", &image]);
}
