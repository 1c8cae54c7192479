//! Nothing is lost: stop and start, the death of any process, a reboot, the death of a node.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::http::{Traffic, get};
use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::process;
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

/// What must be the same after every kind of end.
#[derive(Debug, PartialEq)]
struct Identity {
    objects: BTreeSet<String>,
    addresses: Value,
    nodes: Vec<String>,
    images: String,
}

impl Identity {
    fn of(lab: &Lab) -> Self {
        let kinds = "namespaces,nodes,deployments,replicasets,services,configmaps,serviceaccounts,gateways,httproutes";
        let path = "{range .items[*]}{.kind} {.metadata.name} {.metadata.uid} {.spec.clusterIP}{'\\n'}{end}";
        let objects = lab.json_path(&[kinds, "--all-namespaces"], path);
        let status = lab.status();
        let nodes = status["nodes"].as_array().expect("status lists the nodes");
        Self {
            objects: objects.lines().map(str::to_owned).collect(),
            addresses: status["addresses"].clone(),
            nodes: nodes
                .iter()
                .map(|node| format!("{} {}", node["name"], node["ip"]))
                .collect(),
            images: lab.ok(&["image", "ls", "-o", "json"]),
        }
    }
}

/// Three replicas that answer, an end of some kind, and three replicas that answer again.
#[track_caller]
fn comes_back_after(lab: &Lab, url: &str, end: &str, how: impl FnOnce()) {
    let before = Identity::of(lab);
    how();
    let said = lab.start(&[]);
    assert!(said.contains("is back: started"), "after {end}: {said}");
    lab.answers(url, 3);
    assert_eq!(Identity::of(lab), before, "after {end}");
    let again = lab.start(&[]);
    assert!(again.contains("nothing to do"), "after {end}: {again}");
}

#[test]
fn everything_is_back_after_every_kind_of_end() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("ends", &["3", "--speed", "20"]);
    let url = lab.deploy_hello();

    comes_back_after(&lab, &url, "a stop", || {
        lab.ok(&["stop"]);
        assert_eq!(
            lab.processes(),
            [0_u32; 0],
            "a stopped cluster runs nothing"
        );
    });
    comes_back_after(&lab, &url, "the death of the control plane", || {
        process::kill(&[lab.pid("control-plane")])
    });
    comes_back_after(&lab, &url, "the death of a node", || {
        process::kill(&[lab.pid("node-2")])
    });
    comes_back_after(&lab, &url, "the death of every node", || {
        process::kill(&["node-1", "node-2", "node-3"].map(|node| lab.pid(node)));
    });
    comes_back_after(&lab, &url, "a reboot", || {
        process::kill(&lab.processes());
        wait_until("everything is dead", SOON, || lab.processes().is_empty());
    });
}

#[test]
fn an_acknowledged_write_survives_the_death_of_the_control_plane() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("writes", &["1"]);
    for round in 0..3 {
        let pid = lab.pid("control-plane");
        let name = format!("written-{round}");
        lab.kubectl(&["create", "configmap", &name, "--from-literal", "kept=yes"]);
        process::kill(&[pid]);
        wait_until("the control plane is dead", SOON, || {
            lab.status()["components"][0]["state"] == "stopped"
        });
        lab.start(&[]);
        assert_eq!(lab.json_path(&["configmap", &name], "{.data.kept}"), "yes");
    }
}

#[test]
fn pods_outlive_the_control_plane_and_are_served_again_after_it() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("outlive", &["3"]);
    let url = lab.deploy_hello();
    let before = lab.answers(&url, 3);
    process::kill(&[lab.pid("control-plane")]);
    lab.start(&[]);
    assert_eq!(lab.answers(&url, 3), before, "the same pods answer");
    let restarts = lab.json_path(
        &["pods"],
        "{.items[*].status.containerStatuses[*].restartCount}",
    );
    assert_eq!(restarts, "0 0 0");
}

#[test]
fn a_dead_nodes_pods_die_with_it_and_come_up_elsewhere_while_requests_are_answered() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("death", &["3", "--speed", "40"]);
    let url = lab.deploy_hello();
    let pods_of_node = format!(
        "{}/nodes/node-2/sandboxes/",
        lab.home_of_cluster().display()
    );
    let running = || {
        process::all()
            .iter()
            .filter(|process| process.contains(&pods_of_node))
            .count()
    };
    assert!(running() > 0, "a pod runs on node-2");

    process::kill(&[lab.pid("node-2")]);
    wait_until("the pods of a dead node are dead", SOON, || running() == 0);
    wait_for("node-2 is NotReady", SOON, || {
        match lab.json_path(&["node/node-2"], READY) {
            status if status == "Unknown" => Ok(()),
            other => Err(other),
        }
    });
    wait_until("the load balancer has left the dead pod", SOON, || {
        (0..9).all(|_| get(&url).is_ok_and(|a| a.status == 200))
    });
    let traffic = Traffic::on(&url);
    wait_for("three pods on two nodes", 2 * SOON, || {
        let nodes = lab.json_path(
            &["pods", "--field-selector", "status.phase=Running"],
            RUNNING_ON,
        );
        let live: Vec<_> = nodes
            .split(' ')
            .filter(|node| !node.is_empty() && *node != "node-2")
            .collect();
        if live.len() == 3 { Ok(()) } else { Err(nodes) }
    });
    lab.answers(&url, 3);
    let said = lab.ok(&["node", "start", "node-2"]);
    assert!(said.contains("node-2 is on"), "{said}");
    lab.wait_for_value(&["node/node-2"], READY, "True");
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    lab.kubectl(&["scale", "deployment/hello", "--replicas", "6"]);
    lab.rolled_out("deployment/hello");
    lab.answers(&url, 6);
    assert!(running() > 0, "node-2 runs pods again");
}

const READY: &str = "{.status.conditions[?(@.type=='Ready')].status}";
const RUNNING_ON: &str = "{.items[*].spec.nodeName}";

#[test]
fn a_node_that_is_switched_off_comes_back_when_it_is_switched_on() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("switch", &["2", "--speed", "40"]);
    lab.ok(&["node", "stop", "node-2"]);
    lab.wait_for_value(&["node/node-2"], READY, "Unknown");
    let listed = lab.kubectl(&["get", "nodes"]);
    assert!(listed.contains("node-2   NotReady"), "{listed}");
    lab.ok(&["node", "start", "node-2"]);
    lab.wait_for_value(&["node/node-2"], READY, "True");
    let unknown = lab.devops_lab(&["node", "stop", "node-7"]);
    assert_eq!(unknown.code, Some(1), "{unknown}");
    assert!(
        unknown
            .stderr
            .contains("has no node \"node-7\"; it has node-1, node-2"),
        "{unknown}"
    );
}

#[test]
fn delete_leaves_nothing_whatever_state_the_cluster_is_in() {
    let lab = Lab::started("delete", &["2"]);
    process::kill(&[lab.pid("control-plane"), lab.pid("node-1")]);
    let said = run(lab.program(&["delete"])).succeeded("delete");
    assert!(said.contains("is deleted"), "{said}");
    assert_eq!(lab.processes(), [0_u32; 0]);
    assert!(!lab.home_of_cluster().exists());
    let again = lab.devops_lab(&["delete"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert!(
        again
            .stderr
            .contains(&format!("there is no cluster named {:?}", lab.name)),
        "{again}"
    );
}
