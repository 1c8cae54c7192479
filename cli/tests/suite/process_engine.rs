//! The main job on the engine that needs nothing: from no cluster to three replicas that answer,
//! through updates, and back to nothing.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use crate::app;
use crate::http::{Traffic, get};
use crate::lab::{KUBECTL, Lab, SOON, run};
use crate::tools::{Tool, needs};
use crate::wait::{Watch, wait_for, wait_until};

/// Ten times the budget of a release build on an idle machine: this one is neither.
const START_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn start_says_where_everything_is_and_a_second_start_changes_nothing() {
    let lab = Lab::new("start");
    let watch = Watch::start();
    let said = lab.start(&["3"]);
    assert!(
        watch.elapsed() < START_LIMIT,
        "start took {:?}",
        watch.elapsed()
    );
    assert!(
        said.contains(&format!(
            "Cluster {:?} is up: 3 nodes on the process engine",
            lab.name
        )),
        "{said}"
    );
    for part in ["api", "production", "test", "registry"] {
        let address = lab.address(part);
        assert!(said.contains(&address), "{address} is not in {said}");
    }
    assert!(
        said.contains(&format!("Next: devops-lab lab next --name {}", lab.name)),
        "{said}"
    );
    assert!(
        said.contains(&format!("eval \"$(devops-lab env --name {})\"", lab.name)),
        "{said}"
    );

    let before = lab.status();
    let again = lab.start(&["3"]);
    assert!(
        again.contains("runs already: 3 nodes on the process engine; nothing to do"),
        "{again}"
    );
    assert_eq!(lab.status(), before);
}

#[test]
fn another_number_of_nodes_adds_and_removes_nodes() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("nodes", &["2"]);
    let said = lab.start(&["4"]);
    assert!(
        said.contains("has 4 nodes now; added node-3, node-4"),
        "{said}"
    );
    assert_eq!(nodes(&lab), "node-1 node-2 node-3 node-4");
    let said = lab.start(&["1"]);
    assert!(
        said.contains("has 1 node now; removed node-2, node-3, node-4"),
        "{said}"
    );
    assert_eq!(nodes(&lab), "node-1");
    let said = lab.start(&[]);
    assert!(said.contains("runs already: 1 node on"), "{said}");

    let said = lab.ok(&["node", "add"]);
    assert!(said.contains("node-2 joined cluster"), "{said}");
    let said = lab.ok(&["node", "remove", "node-1"]);
    assert!(said.contains("node-1 left cluster"), "{said}");
    assert_eq!(nodes(&lab), "node-2");
    let last = lab.devops_lab(&["node", "remove", "node-2"]);
    assert_eq!(last.code, Some(1), "{last}");
    assert!(last.stderr.contains("node-2 is the only node"), "{last}");
}

fn nodes(lab: &Lab) -> String {
    lab.json_path(&["nodes"], "{.items[*].metadata.name}")
}

#[test]
fn a_node_that_was_deleted_while_it_runs_is_back_once_start_says_so() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("deleted", &["2"]);
    lab.kubectl(&["delete", "node", "node-2"]);
    assert_eq!(nodes(&lab), "node-1");
    lab.start(&[]);
    assert_eq!(nodes(&lab), "node-1 node-2");
}

#[test]
fn simulated_nodes_go_with_their_objects() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::new("shrunk");
    lab.ok(&["start", "4", "--engine", "simulated", "--no-kubeconfig"]);
    lab.start(&["2"]);
    assert_eq!(nodes(&lab), "node-1 node-2");
}

#[test]
fn status_and_env_describe_the_cluster_for_people_and_for_scripts() {
    let lab = Lab::started("status", &["2"]);
    let status = lab.status();
    assert_eq!(status["state"], "Running");
    assert_eq!(status["engine"], "process");
    let names: Vec<_> = status["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["name"])
        .collect();
    assert_eq!(names, ["control-plane", "node-1", "node-2"]);
    let text = lab.ok(&["status"]);
    for word in [
        "running",
        "control-plane",
        "node-2",
        "Ready",
        "production http://127.0.0.1:",
    ] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    let exports = lab.ok(&["env"]);
    let registry = lab.address("registry");
    assert!(
        exports.contains(&format!("export DEVOPS_LAB_REGISTRY='{registry}'\n")),
        "{exports}"
    );
    assert!(
        exports.contains(&format!("export DEVOPS_LAB_CLUSTER='{}'\n", lab.name)),
        "{exports}"
    );

    lab.ok(&["node", "stop", "node-2"]);
    let degraded = lab.devops_lab(&["status"]);
    assert_eq!(degraded.code, Some(1), "{degraded}");
    assert!(degraded.stdout.contains("degraded"), "{degraded}");
    lab.ok(&["stop"]);
    let stopped = lab.devops_lab(&["status"]);
    assert_eq!(stopped.code, Some(1), "{stopped}");
    assert!(
        stopped.stdout.contains("stopped") && stopped.stdout.contains("Next: devops-lab start"),
        "{stopped}"
    );
}

#[test]
fn the_kubeconfig_gains_a_context_and_loses_it_again() {
    needs!(Tool::Kubectl(KUBECTL));
    let mut lab = Lab::new("context");
    let path = lab.write(
        "config",
        "apiVersion: v1\nkind: Config\ncurrent-context: work\nclusters:\n- name: w\n  cluster: {server: 'https://w'}\ncontexts:\n- name: work\n  context: {cluster: w, user: u}\nusers:\n- name: u\n",
    );
    lab.set("KUBECONFIG", &path);
    lab.ok(&["start", "1", "--engine", "process"]);
    let kubectl = |args: &[&str]| {
        let mut command = lab.command(&format!("kubectl-{KUBECTL}"));
        command.args(args);
        run(command).succeeded("kubectl").trim().to_owned()
    };
    assert_eq!(
        kubectl(&["config", "current-context"]),
        format!("devops-lab-{}", lab.name)
    );
    assert_eq!(kubectl(&["get", "nodes", "-o", "name"]), "node/node-1");
    lab.ok(&["delete"]);
    assert_eq!(kubectl(&["config", "current-context"]), "work");
    assert_eq!(kubectl(&["config", "get-contexts", "-o", "name"]), "work");
}

#[test]
fn three_replicas_answer_and_are_updated_without_a_failed_request() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("main", &["3"]);
    let url = lab.deploy_hello();
    let on = lab.json_path(&["pods", "-l", "app=hello"], "{.items[*].spec.nodeName}");
    let on: BTreeSet<_> = on.split(' ').collect();
    assert_eq!(on, BTreeSet::from(["node-1", "node-2", "node-3"]));
    let second = lab.push_app("2.0.0");

    let traffic = Traffic::on(&url);
    lab.kubectl(&["set", "image", "deployment/hello", &format!("app={second}")]);
    lab.rolled_out("deployment/hello");
    wait_until("the new version alone answers", SOON, || {
        (0..6).all(|_| get(&url).is_ok_and(|answer| answer.member("version") == "2.0.0"))
    });
    lab.kubectl(&["rollout", "undo", "deployment/hello"]);
    lab.rolled_out("deployment/hello");
    lab.kubectl(&["scale", "deployment/hello", "--replicas", "5"]);
    lab.rolled_out("deployment/hello");
    lab.answers(&url, 5);
    lab.kubectl(&["scale", "deployment/hello", "--replicas", "2"]);
    lab.answers(&url, 2);
    lab.kubectl(&["rollout", "restart", "deployment/hello"]);
    lab.rolled_out("deployment/hello");
    let seen = traffic.end();
    assert!(seen.failed.is_empty(), "{seen:?}");
    assert_eq!(seen.versions, ["1.0.0", "2.0.0"].map(str::to_owned).into());
    assert!(seen.answered > 100, "{seen:?}");

    let history = lab.kubectl(&["rollout", "history", "deployment/hello"]);
    assert!(history.contains("REVISION"), "{history}");
    lab.kubectl(&["label", "deployment/hello", "tier=web"]);
    assert_eq!(
        lab.json_path(&["deployment/hello"], "{.metadata.labels.tier}"),
        "web"
    );
    wait_for("two pods are left", SOON, || {
        let pods = lab.kubectl(&["get", "pods", "-o", "name"]);
        if pods.lines().count() == 2 {
            Ok(())
        } else {
            Err(pods)
        }
    });
    describes(&lab);

    let manifest = lab.write("manifest.yaml", &app::manifests("hello", 3, &second));
    lab.kubectl(&["delete", "-f", &manifest]);
    everything_is_gone(&lab);
    assert_eq!(get(&url).unwrap().status, 404);
}

#[track_caller]
fn describes(lab: &Lab) {
    for (what, words) in [
        (
            "deployment/hello",
            &[
                "NewReplicaSet:",
                "ScalingReplicaSet",
                "NewReplicaSetAvailable",
            ][..],
        ),
        (
            "pod",
            &[
                "Controlled By:  ReplicaSet/hello-",
                "Readiness:",
                "Scheduled",
                "Started",
            ],
        ),
        ("service/hello", &["Endpoints:", "TargetPort:"]),
        (
            "node/node-1",
            &["InternalIP:", "KubeletReady", "Non-terminated Pods:"],
        ),
        ("httproute/hello", &["Accepted", "ResolvedRefs"]),
    ] {
        let text = lab.kubectl(&["describe", what]);
        for word in words {
            assert!(
                text.contains(word),
                "describe {what} lacks {word:?}:\n{text}"
            );
        }
    }
}

#[track_caller]
fn everything_is_gone(lab: &Lab) {
    wait_for("everything is gone", SOON, || {
        let kinds = "deployments,replicasets,pods,endpoints,endpointslices,httproutes";
        let left = lab.kubectl(&["get", kinds, "-o", "name"]);
        // The way to the API itself is there in every cluster.
        let mut others = left.lines().filter(|name| !name.ends_with("/kubernetes"));
        match others.next() {
            None => Ok(()),
            Some(_) => Err(left.clone()),
        }
    });
}

#[test]
fn the_older_kubectl_drives_it_as_well() {
    const OLDER: &str = "1.32";
    needs!(Tool::Kubectl(OLDER));
    let lab = Lab::started("older", &["2"]);
    let first = lab.push_app("1.0.0");
    let second = lab.push_app("2.0.0");
    let manifest = lab.write("manifest.yaml", &app::manifests("hello", 2, &first));
    let kubectl = |args: &[&str]| lab.kubectl_of(OLDER, args).succeeded(&args.join(" "));
    kubectl(&["apply", "-f", &manifest]);
    kubectl(&["rollout", "status", "deployment/hello", "--timeout", "60s"]);
    let url = lab.address("production");
    lab.answers(&url, 2);
    let versions = || {
        lab.json_path(
            &["deployment,service,httproute"],
            "{.items[*].metadata.generation}",
        )
    };
    let before = versions();
    let unchanged = kubectl(&["apply", "-f", &manifest]);
    // For a route, kubectl knows no merge keys: it says "configured" on a real cluster too.
    assert_eq!(unchanged.matches("unchanged").count(), 2, "{unchanged}");
    assert_eq!(versions(), before);
    kubectl(&["set", "image", "deployment/hello", &format!("app={second}")]);
    kubectl(&["rollout", "status", "deployment/hello", "--timeout", "60s"]);
    kubectl(&["rollout", "undo", "deployment/hello"]);
    kubectl(&["scale", "deployment/hello", "--replicas", "1"]);
    kubectl(&["rollout", "status", "deployment/hello", "--timeout", "60s"]);
    let head = kubectl(&["get", "deployments"]);
    assert!(
        head.starts_with(
            "NAME    READY   UP-TO-DATE   AVAILABLE   AGE\nhello   1/1     1            1 "
        ),
        "{head}"
    );
    kubectl(&["describe", "deployment/hello"]);
    kubectl(&["logs", "deployment/hello"]);
    let applied = kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        &manifest,
    ]);
    assert_eq!(
        applied.matches("serverside-applied").count(),
        3,
        "{applied}"
    );
    kubectl(&["delete", "-f", &manifest]);
    everything_is_gone(&lab);
}

#[test]
fn logs_are_followed_cut_and_kept_of_the_previous_run() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("logs", &["1", "--speed", "20"]);
    let image = lab.push_app("1.0.0");
    lab.apply(&app::manifests("hello", 1, &image));
    lab.rolled_out("deployment/hello");
    let url = lab.address("production");
    lab.answers(&url, 1);

    let mut follow = lab.command(&format!("kubectl-{KUBECTL}"));
    follow
        .args(["logs", "--follow", "--tail", "0", "deployment/hello"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut follow = follow.spawn().unwrap();
    let lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let asking = Traffic::on(&format!("{url}/followed"));
    let line = lines
        .map_while(Result::ok)
        .find(|line| line.contains("/followed"));
    follow.kill().unwrap();
    follow.wait().unwrap();
    asking.end();
    assert!(line.is_some(), "the log ended without the request");

    let tail = lab.kubectl(&["logs", "deployment/hello", "--tail", "2"]);
    assert_eq!(tail.lines().count(), 2, "{tail}");

    let crashing = lab.file("crashing");
    app::write_crashing(&crashing);
    let image = lab.push(&crashing, "crashing", "1");
    lab.apply(&app::deployment("crashing", 1, &image));
    let previous = wait_for("the previous run's log", SOON, || {
        let said = lab.kubectl_of(KUBECTL, &["logs", "--previous", "deployment/crashing"]);
        if said.code == Some(0) {
            Ok(said.stdout)
        } else {
            Err(said.to_string())
        }
    });
    assert!(previous.contains("no database here"), "{previous}");

    let parts = lab.ok(&["logs", "node-1", "--tail", "1"]);
    assert!(parts.lines().count() <= 1, "{parts}");
    let unknown = lab.devops_lab(&["logs", "node-9"]);
    assert_eq!(unknown.code, Some(1), "{unknown}");
}

#[test]
fn every_kind_is_listed_with_the_columns_that_people_know() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("columns", &["1"]);
    let image = lab.push_app("1.0.0");
    lab.apply(&app::manifests("hello", 1, &image));
    lab.kubectl(&["create", "configmap", "settings", "--from-literal", "a=1"]);
    lab.kubectl(&[
        "create",
        "secret",
        "generic",
        "hidden",
        "--from-literal",
        "a=1",
    ]);
    lab.rolled_out("deployment/hello");
    let check = |kind: &str, columns: &str| {
        let text = lab.kubectl(&["get", kind, "--all-namespaces"]);
        let head = text
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(head, columns, "columns of {kind}");
        assert!(text.lines().count() > 1, "there is no {kind}");
    };
    check("namespaces", "NAME STATUS AGE");
    check("nodes", "NAME STATUS ROLES AGE VERSION");
    check("pods", "NAMESPACE NAME READY STATUS RESTARTS AGE");
    check(
        "deployments",
        "NAMESPACE NAME READY UP-TO-DATE AVAILABLE AGE",
    );
    check("replicasets", "NAMESPACE NAME DESIRED CURRENT READY AGE");
    check(
        "services",
        "NAMESPACE NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE",
    );
    check("endpoints", "NAMESPACE NAME ENDPOINTS AGE");
    check(
        "endpointslices",
        "NAMESPACE NAME ADDRESSTYPE PORTS ENDPOINTS AGE",
    );
    check("configmaps", "NAMESPACE NAME DATA AGE");
    check("secrets", "NAMESPACE NAME TYPE DATA AGE");
    check("events", "NAMESPACE LAST SEEN TYPE REASON OBJECT MESSAGE");
    check("leases", "NAMESPACE NAME HOLDER AGE");
    check("serviceaccounts", "NAMESPACE NAME SECRETS AGE");
    check("gatewayclasses", "NAME CONTROLLER ACCEPTED AGE");
    check("gateways", "NAMESPACE NAME CLASS ADDRESS PROGRAMMED AGE");
    check("httproutes", "NAMESPACE NAME HOSTNAMES AGE");
}
