//! Faults on purpose, and what the cluster makes of them.

use serde_json::Value;

use crate::http::get;
use crate::lab::{KUBECTL, Lab, SOON, Said, run};
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

const READY: &str = "{.status.conditions[?(@.type=='Ready')].status}";

const INGRESS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - http:
      paths:
      - path: /shop
        pathType: Prefix
        backend: {service: {name: hello, port: {number: 80}}}
";

fn injected(lab: &Lab) -> Vec<Value> {
    let said = lab.ok(&["fault", "status", "-o", "json"]);
    serde_json::from_str(&said).expect("the status is JSON")
}

/// Waits until three pods run on nodes other than this one.
fn away_from(lab: &Lab, node: &str) {
    wait_for(&format!("three pods run, none on {node}"), SOON * 2, || {
        let on = lab.json_path(
            &["pods", "-l", "app=hello"],
            "{range .items[?(@.status.phase=='Running')]}{.spec.nodeName} {.metadata.deletionTimestamp};{end}",
        );
        let live = on.split(';').filter(|pod| pod.ends_with(' '));
        let live: Vec<_> = live.map(str::trim).collect();
        if live.len() == 3 && !live.contains(&node) {
            Ok(())
        } else {
            Err(on)
        }
    });
}

#[test]
fn nodes_die_or_are_cut_off_and_are_healed() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("fnodes", &["3", "--speed", "40"]);
    let url = lab.deploy_hello();

    let said = lab.ok(&["fault", "inject", "node-kill", "node-2"]);
    assert!(said.contains("Done: killed node-2"), "{said}");
    assert!(
        said.contains("Heal: ") && said.contains("40 times shorter"),
        "{said}"
    );
    lab.wait_for_value(&["node/node-2"], READY, "Unknown");
    away_from(&lab, "node-2");
    lab.ok(&["fault", "heal", "node-kill"]);
    lab.wait_for_value(&["node/node-2"], READY, "True");

    lab.ok(&["fault", "inject", "node-partition", "node-1"]);
    assert_eq!(injected(&lab)[0]["target"], "node-1");
    lab.wait_for_value(&["node/node-1"], READY, "Unknown");
    let pods = format!("{}/nodes/node-1/", lab.home_of_cluster().display());
    let running = || {
        let all = crate::process::all();
        all.iter().filter(|process| process.contains(&pods)).count()
    };
    let still = running();
    away_from(&lab, "node-1");
    assert_eq!(
        running(),
        still,
        "the node's pods run on while it is cut off"
    );
    lab.ok(&["fault", "heal"]);
    lab.wait_for_value(&["node/node-1"], READY, "True");
    assert!(injected(&lab).is_empty());
    lab.answers(&url, 3);
}

#[test]
fn a_share_of_requests_fails_and_a_killed_pod_is_replaced() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("fshare", &["2"]);
    let url = lab.deploy_hello();
    lab.ok(&[
        "fault",
        "inject",
        "gateway-abort",
        "hello",
        "--share",
        "25%",
        "--status",
        "503",
    ]);
    wait_until("requests fail", SOON, || {
        (0..8).any(|_| get(&url).is_ok_and(|answer| answer.status == 503))
    });
    let failed = (0..400)
        .filter(|_| get(&url).is_ok_and(|answer| answer.status == 503))
        .count();
    assert!((92..=108).contains(&failed), "{failed} of 400");
    lab.ok(&["fault", "heal", "gateway-abort"]);
    wait_until("no request fails", SOON, || {
        (0..20).all(|_| get(&url).is_ok_and(|answer| answer.status == 200))
    });

    lab.apply(INGRESS);
    let shop = format!("{url}/shop");
    let answers = |what: &str, status: u16| {
        wait_until(what, SOON, || {
            (0..20).all(|_| get(&shop).is_ok_and(|answer| answer.status == status))
        });
    };
    answers("the Ingress answers", 200);
    lab.ok(&[
        "fault",
        "inject",
        "gateway-abort",
        "ingress/shop",
        "--share",
        "100%",
    ]);
    assert_eq!(injected(&lab)[0]["target"], "ingress/shop");
    answers("the Ingress fails", 503);
    assert!(get(&url).is_ok_and(|answer| answer.status == 200));
    lab.ok(&["fault", "heal"]);
    answers("the Ingress answers again", 200);

    let before = lab.answers(&url, 3);
    let said = lab.ok(&["fault", "inject", "pod-kill", "--seed", "3", "-o", "json"]);
    let killed: Value = serde_json::from_str(&said).expect("JSON");
    let killed = killed["target"].as_str().unwrap().to_owned();
    assert!(
        before.contains(&killed),
        "{killed} is not one of {before:?}"
    );
    wait_until("it is replaced", SOON, || {
        let now = lab.answers(&url, 3);
        !now.contains(&killed)
    });

    lab.ok(&["fault", "inject", "pod-memory"]);
    wait_until("a container was OOM-killed", SOON, || {
        let path = "{.items[*].status.containerStatuses[*].lastState.terminated.reason}";
        lab.json_path(&["pods"], path).contains("OOMKilled")
    });
    let hidden = lab.ok(&["fault", "inject", "random", "--seed", "7", "--quiet"]);
    assert!(!hidden.contains("Done"), "{hidden}");
    assert!(lab.ok(&["fault", "status"]).contains("(hidden)"));
    assert!(
        !lab.ok(&["fault", "status", "--reveal"])
            .contains("(hidden)")
    );
    lab.ok(&["fault", "heal", "--all"]);
    assert!(injected(&lab).is_empty());
}

#[test]
fn a_damaged_image_cannot_be_pulled_until_it_is_healed() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("fimage", &["1", "--speed", "20"]);
    let image = lab.push_app("1.0.0");
    lab.ok(&["fault", "inject", "image-pull-corrupt", &image]);
    lab.apply(&crate::app::deployment("hello", 1, &image));
    let waiting = "{.items[0].status.containerStatuses[0].state.waiting.reason}";
    wait_until("the pull fails", SOON, || {
        lab.json_path(&["pods"], waiting).contains("ImagePull")
    });
    lab.ok(&["fault", "heal"]);
    lab.rolled_out("deployment/hello");
}

/// A certificate for localhost of its own authority, as a TLS Secret, and a Gateway that serves
/// `hello` with it on this port.
fn secure(certificate: &str, key: &str, port: &str) -> String {
    let indented = |pem: &str| pem.replace('\n', "\n    ");
    format!(
        r"apiVersion: v1
kind: Secret
metadata: {{name: hello-tls}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
    {}
  tls.key: |
    {}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: secure}}
spec:
  gatewayClassName: devops-lab
  listeners:
  - name: https
    protocol: HTTPS
    port: {port}
    tls: {{certificateRefs: [{{name: hello-tls}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: secure}}
spec:
  parentRefs: [{{name: secure}}]
  rules: [{{backendRefs: [{{name: hello, port: 80}}]}}]
",
        indented(certificate),
        indented(key)
    )
}

#[test]
fn clients_refuse_an_expired_certificate_until_it_is_healed() {
    needs!(Tool::Kubectl(KUBECTL), Tool::Curl);
    let lab = Lab::started("fcert", &["1"]);
    lab.deploy_hello();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let authority = lab.write("ca.pem", &own.cert.pem());
    let https = lab.address("https");
    let port = https.rsplit(':').next().unwrap_or_default();
    lab.apply(&secure(
        &own.cert.pem(),
        &own.signing_key.serialize_pem(),
        port,
    ));
    let ask = |more: &[&str]| -> Said {
        let mut curl = lab.command("curl");
        curl.args(["--silent", "--show-error", "--fail", "--cacert", &authority]);
        curl.args(more).arg(format!("https://localhost:{port}/"));
        run(curl)
    };
    let answers = |what: &str| {
        wait_for(what, SOON, || match ask(&[]) {
            said if said.stdout.contains("1.0.0") => Ok(()),
            said => Err(said.to_string()),
        });
    };
    answers("HTTPS answers");

    let said = lab.ok(&["fault", "inject", "certificate-expire"]);
    assert!(said.contains("hello-tls"), "{said}");
    wait_for("the client refuses to connect", SOON, || {
        // The code of curl for a certificate that it does not accept.
        match ask(&[]) {
            said if said.code == Some(60) => Ok(()),
            said => Err(said.to_string()),
        }
    });
    let unchecked = ask(&["--insecure"]);
    assert!(
        unchecked.stdout.contains("1.0.0"),
        "everything behind it works: {unchecked}"
    );
    lab.ok(&["fault", "heal", "certificate-expire"]);
    answers("HTTPS answers again");
}

#[test]
fn on_docker_nodes_die_pods_run_out_of_memory_and_all_is_healed() {
    needs!(Tool::Docker, Tool::Kubectl(KUBECTL));
    let lab = Lab::new("fdocker");
    lab.ok(&[
        "start",
        "3",
        "--engine",
        "docker",
        "--speed",
        "20",
        "--no-kubeconfig",
    ]);
    let url = lab.deploy_hello();

    lab.ok(&["fault", "inject", "pod-memory"]);
    wait_until("a container was OOM-killed", SOON * 2, || {
        let path = "{.items[*].status.containerStatuses[*].lastState.terminated.reason}";
        lab.json_path(&["pods"], path).contains("OOMKilled")
    });

    let quotas = || {
        let pods = format!("label=devops-lab.cluster={}", lab.name);
        let mut list = lab.command("docker");
        list.args(["ps", "-q", "--filter", &pods]);
        list.args(["--filter", "label=devops-lab.node=node-1"]);
        list.args(["--filter", "label=devops-lab.container"]);
        let ids = run(list).succeeded("docker ps");
        let mut inspect = lab.command("docker");
        inspect.args(["inspect", "--format", "{{.HostConfig.CpuQuota}}"]);
        run(inspect_all(inspect, &ids)).succeeded("docker inspect")
    };
    lab.ok(&["fault", "inject", "node-slow", "node-1", "--share", "30%"]);
    wait_until("the pods of node-1 are slowed", SOON, || {
        quotas().lines().all(|quota| quota == "30000")
    });
    lab.ok(&["fault", "heal", "node-slow"]);
    wait_until("they have their time back", SOON, || {
        quotas().lines().all(|quota| quota == "-1")
    });

    lab.ok(&["fault", "inject", "node-kill", "node-2"]);
    lab.wait_for_value(&["node/node-2"], READY, "Unknown");
    away_from(&lab, "node-2");
    lab.ok(&["fault", "inject", "node-partition", "node-3"]);
    lab.wait_for_value(&["node/node-3"], READY, "Unknown");
    lab.ok(&["fault", "inject", "gateway-abort", "--share", "50%"]);
    wait_until("requests fail", SOON, || {
        (0..8).any(|_| get(&url).is_ok_and(|answer| answer.status == 503))
    });
    lab.ok(&["fault", "heal", "--all"]);
    assert!(injected(&lab).is_empty());
    for node in ["node/node-1", "node/node-2", "node/node-3"] {
        lab.wait_for_value(&[node], READY, "True");
    }
    lab.answers(&url, 3);
}

/// `docker inspect` of these containers.
fn inspect_all(mut inspect: std::process::Command, ids: &str) -> std::process::Command {
    inspect.args(ids.lines());
    inspect
}
