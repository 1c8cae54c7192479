//! Services as pods and the host reach them: by name, by address, at a node's port.

use crate::app;
use crate::http::{Answer, get};
use crate::lab::{KUBECTL, Lab, SOON};
use crate::tools::{Tool, needs};
use crate::wait::wait_for;

/// Two tiers: `hello`, and `front`, which calls whatever it is told to and is behind the load
/// balancer; the address of `front`.
fn two_tiers(lab: &Lab) -> String {
    let hello = lab.push_app("1.0.0");
    let directory = lab.file("caller");
    app::write_caller(&directory);
    let caller = lab.push(&directory, "front", "1.0.0");
    lab.apply(&format!(
        "{}---\n{}---\n{SERVICES}",
        app::deployment("hello", 2, &hello),
        app::manifests("front", 1, &caller),
    ));
    lab.rolled_out("deployment/hello");
    lab.rolled_out("deployment/front");
    lab.address("production")
}

const SERVICES: &str = "apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  type: NodePort
  selector: {app: hello}
  ports: [{name: http, port: 8000, targetPort: http, nodePort: 30123}]
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec:
  selector: {app: hello}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec:
  clusterIP: None
  selector: {app: hello}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  sessionAffinity: ClientIP
  selector: {app: hello}
  ports: [{name: http, port: 8000, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: alias}
spec: {type: ExternalName, externalName: hello.default.svc.cluster.local}
";

/// What `front` gets from an address.
fn call(front: &str, url: &str) -> Result<Answer, String> {
    let answer = get(&format!("{front}/?url={url}")).map_err(|error| error.to_string())?;
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(format!("{url}: {answer:?}"))
    }
}

#[track_caller]
fn every_name_leads_to_hello(lab: &Lab, front: &str) {
    let cluster_ip = lab.json_path(&["service/hello"], "{.spec.clusterIP}");
    for url in [
        "http://hello:8000",
        "http://hello.default:8000",
        "http://hello.default.svc:8000",
        "http://hello.default.svc.cluster.local:8000",
        "http://plain",
        "http://each:8080",
        "http://alias:8000",
        &format!("http://{cluster_ip}:8000"),
    ] {
        let answer = wait_for(url, SOON, || call(front, url));
        assert_eq!(answer.member("version"), "1.0.0", "{url}");
    }
    let missing = call(front, "http://nobody").expect_err("nobody is there");
    assert!(
        missing.contains("the name nobody does not exist"),
        "{missing}"
    );
    let first = call(front, "http://sticky:8000")
        .expect("an answer")
        .member("pod");
    for _ in 0..8 {
        let pod = call(front, "http://sticky:8000")
            .expect("an answer")
            .member("pod");
        assert_eq!(pod, first, "a client stays with its pod");
    }
}

#[track_caller]
fn nodes_answer_at_their_port(lab: &Lab) {
    let path = "{.items[*].status.addresses[?(@.type=='InternalIP')].address}";
    for ip in lab.json_path(&["nodes"], path).split(' ') {
        let url = format!("http://{ip}:30123");
        let answer = wait_for(&url, SOON, || get(&url).map_err(|error| error.to_string()));
        assert_eq!(answer.member("version"), "1.0.0", "{url}");
    }
}

#[test]
fn a_pod_finds_services_by_name_and_the_host_by_node_port() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("names", &["2"]);
    let front = two_tiers(&lab);
    every_name_leads_to_hello(&lab, &front);
    nodes_answer_at_their_port(&lab);
    let api = lab.json_path(&["service/kubernetes"], "{.spec.clusterIP}");
    assert!(api.ends_with(".128.1"), "{api}");
    let dns = lab.json_path(
        &["-n", "kube-system", "service/kube-dns"],
        "{.spec.clusterIP}",
    );
    assert!(dns.ends_with(".128.10"), "{dns}");
}

#[test]
fn names_are_resolved_in_containers_too() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("dnames");
    lab.ok(&["start", "--no-kubeconfig", "2", "--engine", "docker"]);
    let front = two_tiers(&lab);
    every_name_leads_to_hello(&lab, &front);
    nodes_answer_at_their_port(&lab);
}
