//! The use of resources as `kubectl top` shows it, and a number of replicas that follows it.

use std::path::Path;
use std::time::Duration;

use crate::http::{Traffic, get};
use crate::lab::{KUBECTL, Lab, SOON};
use crate::tools::{Tool, needs, offered};
use crate::wait::{wait_for, wait_until};

/// The autoscaler waits two minutes before it grows: 12 s at this speed, and the machine may be
/// busy with other tests.
const SPEED: &str = "10";
/// The oldest kubectl that the suite knows.
const OLDER: &str = "1.32";
const PATIENCE: Duration = Duration::from_secs(60);

fn fixture(path: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    fixtures.join(path).display().to_string()
}

/// Pushes the Mandelbrot service and runs it with a request that a busy machine can exceed too.
fn deploy_mandelbrot(lab: &Lab) -> String {
    let image = lab.push(
        Path::new(&fixture("apps/mandelbrot")),
        "mandelbrot",
        "1.0.0",
    );
    for file in ["service.yaml", "route.yaml"] {
        lab.kubectl(&[
            "apply",
            "-f",
            &fixture(&format!("apps/mandelbrot/k8s/{file}")),
        ]);
    }
    let deployment = std::fs::read_to_string(fixture("apps/mandelbrot/k8s/deployment.yaml"))
        .expect("the fixture is there")
        .replace("localhost:5001/mandelbrot:1.0.0", &image)
        .replace("cpu: 250m", "cpu: 20m");
    lab.apply(&deployment);
    lab.rolled_out("deployment/mandelbrot");
    format!("{}/tile?size=64&iterations=1000", lab.address("production"))
}

#[test]
fn kubectl_top_and_an_autoscaler_follow_the_load() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("autoscaling", &["2", "--speed", SPEED]);
    let url = deploy_mandelbrot(&lab);
    lab.kubectl(&["apply", "-f", &fixture("autoscaling/workshop.yaml")]);

    let load: Vec<Traffic> = (0..4).map(|_| Traffic::on(&url)).collect();
    wait_for("the load shows in kubectl top", SOON, || {
        let said = lab.kubectl_of(
            KUBECTL,
            &["top", "pods", "-l", "app=mandelbrot", "--no-headers"],
        );
        let busy = said.stdout.lines().filter(|line| millis(line) > 0).count();
        if busy >= 2 {
            Ok(())
        } else {
            Err(said.to_string())
        }
    });
    top_prints_its_tables(&lab);
    replicas(&lab, 3);
    drop(load.into_iter().map(Traffic::end).collect::<Vec<_>>());
    replicas(&lab, 2);

    let told = lab.kubectl(&["describe", "hpa", "mandelbrot"]);
    for text in [
        "Deployment/mandelbrot",
        "New size: 3; reason: cpu resource utilization (percentage of request) above target",
        "New size: 2; reason: All metrics below target",
        "ValidMetricFound",
    ] {
        assert!(told.contains(text), "{text:?} is not in {told}");
    }
    assert_eq!(get(&url).map(|answer| answer.status).ok(), Some(200));
}

/// The column `CPU(cores)` of a line of `kubectl top pods`.
fn millis(line: &str) -> u64 {
    let cpu = line.split_whitespace().nth(1).unwrap_or_default();
    cpu.trim_end_matches('m').parse().unwrap_or(0)
}

fn replicas(lab: &Lab, expected: u32) {
    let path = "{.spec.replicas}";
    wait_for(&format!("{expected} replicas"), PATIENCE, || {
        match lab.json_path(&["deployment", "mandelbrot"], path) {
            size if size == expected.to_string() => Ok(()),
            _ => Err(lab.kubectl(&["describe", "hpa", "mandelbrot"])),
        }
    });
}

fn top_prints_its_tables(lab: &Lab) {
    let nodes = lab.kubectl(&["top", "nodes"]);
    let head: Vec<_> = nodes
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    assert_eq!(head[..3], ["NAME", "CPU(cores)", "CPU(%)"], "{nodes}");
    assert!(
        nodes.contains("node-1") && nodes.contains("node-2"),
        "{nodes}"
    );
    let containers = lab.kubectl(&["top", "pods", "--containers", "-A", "--sort-by=cpu"]);
    assert!(containers.lines().count() >= 3, "{containers}");
    let line = containers.lines().nth(1).unwrap_or_default();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(
        (cells[0], cells[2]),
        ("default", "mandelbrot"),
        "{containers}"
    );
    assert!(cells[4].ends_with("Mi"), "{containers}");
}

#[test]
fn kubectl_autoscale_makes_an_autoscaler_that_both_versions_show() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("autoscale", &["1"]);
    lab.deploy_hello();
    let arguments = [
        "autoscale",
        "deployment",
        "hello",
        "--cpu-percent=60",
        "--min=2",
        "--max=5",
    ];
    if offered(Tool::Kubectl(OLDER)) {
        // Until 1.32 it speaks the older version of the kind.
        let said = lab.kubectl_of(OLDER, &arguments);
        assert!(said.stdout.contains("hello autoscaled"), "{said}");
        lab.kubectl(&["delete", "hpa", "hello"]);
    }
    lab.kubectl(&arguments);
    wait_until("the autoscaler says what it sees", SOON, || {
        let line = lab.kubectl(&["get", "hpa", "hello", "--no-headers"]);
        let cells: Vec<_> = line.split_whitespace().collect();
        cells[1] == "Deployment/hello"
            && cells[2] == "cpu:"
            && cells[3].ends_with("/60%")
            && cells[4..6] == ["2", "5"]
    });
    let old = "horizontalpodautoscalers.v1.autoscaling/hello";
    let percent = lab.json_path(&[old], "{.spec.targetCPUUtilizationPercentage}");
    assert_eq!(percent, "60");
    let bad = lab.kubectl_of(
        KUBECTL,
        &[
            "autoscale",
            "deployment",
            "hello",
            "--name=bad",
            "--min=3",
            "--max=2",
        ],
    );
    assert_ne!(bad.code, Some(0), "{bad}");
}
