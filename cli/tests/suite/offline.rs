//! Nothing of the main job needs more of a network than the loopback device.

use std::process::Command;

use crate::app;
use crate::lab::{KUBECTL, Lab, run};
use crate::tools::{Tool, needs};

/// The main job as a person types it, up to an answer of the application.
const MAIN_JOB: &str = r#"set -eu
ip link set lo up
"$PROGRAM" start 3 --engine process --no-kubeconfig
"$PROGRAM" image build -t "$IMAGE" app
eval "$("$PROGRAM" env)"
"$PROGRAM" image build -t "$DEVOPS_LAB_REGISTRY/hello:1.0.0" --push app
sed "s|$IMAGE|$DEVOPS_LAB_REGISTRY/hello:1.0.0|" manifest.yaml | "$KUBECTL" apply -f -
"$KUBECTL" rollout status deployment/hello --timeout 60s
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  answer=$("$PROGRAM" status >/dev/null; curl --silent --fail "$DEVOPS_LAB_PRODUCTION/") && break
done
echo "answer: $answer"
"$PROGRAM" delete
"#;

#[test]
fn the_main_job_works_with_nothing_but_loopback() {
    needs!(Tool::NetworkNamespace, Tool::Kubectl(KUBECTL));
    let lab = Lab::in_private_home("offline");
    app::write(&lab.file("app"), "1.0.0");
    let image = "localhost:5001/hello:1.0.0";
    lab.write("manifest.yaml", &app::manifests("hello", 3, image));
    let program = lab.program(&[]).get_program().to_owned();
    let mut command: Command = lab.command("unshare");
    command.args(["--net", "sh", "-c", MAIN_JOB]);
    command
        .env("PROGRAM", program)
        .env("KUBECTL", format!("kubectl-{KUBECTL}"))
        .env("IMAGE", image);
    let said = run(command).succeeded("the main job");
    assert!(
        said.contains("answer: {\"version\":\"1.0.0\",\"pod\":\"hello-"),
        "{said}"
    );
    assert!(!lab.home_of_cluster().exists(), "{said}");
}
