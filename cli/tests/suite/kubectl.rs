//! The built-in kubectl beside the real one: the same commands on the same cluster, each in a
//! namespace of its own, and the same words and exit codes from both.

use crate::lab::{KUBECTL, Lab, Said, run};
use crate::tools::{Tool, needs};

/// What varies from one object to the other: the value behind these keys.
const VARYING: [&str; 12] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "clusterIP",
    "ip",
    "podIP",
    "hostIP",
    "startTime",
    "startedAt",
    "containerID",
];

fn manifests(image: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: hello, labels: {{app: hello}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: hello}}}}
  template:
    metadata: {{labels: {{app: hello}}}}
    spec:
      containers:
      - name: app
        image: {image}
        ports: [{{containerPort: 8080}}]
        env: [{{name: A, value: \"1\"}}, {{name: B, value: \"true\"}}]
---
apiVersion: v1
kind: Service
metadata: {{name: hello}}
spec:
  selector: {{app: hello}}
  ports: [{{port: 80, targetPort: 8080}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: conf}}
data:
  markup: \"x <y> & z\"
  lines: \"one\\ntwo\\n\"
  number: \"5\"
  blank: ''
  colon: 'a: b'
  long: {long}
",
        long = "a long text that goes on and on ".repeat(6)
    )
}

/// Commands in order, as a student types them; `IMAGE` stands for the second version. What a
/// client says on standard error is compared too.
const COMMANDS: &[&str] = &[
    "apply -f hello.yaml",
    "apply -f hello.yaml",
    "wait deploy/hello --for=condition=Available --timeout=60s",
    "get deploy,svc,cm",
    "get pods",
    "get pods -l app=hello --no-headers",
    "get deploy hello -o yaml",
    "get deploy hello -o json",
    "get cm conf -o yaml",
    "get cm,svc -o name",
    "get deploy -o wide",
    "get deploy hello --show-labels",
    "get deploy -L app",
    "get all",
    "get pods -l app=hello -o jsonpath={range.items[*]}{.status.phase}{\"\\n\"}{end}",
    "get deploy hello -o jsonpath={.spec.template.spec.containers[0]}",
    "get deploy hello -o custom-columns=NAME:.metadata.name,IMAGES:.spec.replicas,NONE:.spec.nothing",
    "get nodes",
    "get pods -A -l app=nothing",
    "get pods -l app=nothing",
    "get pods --sort-by=.metadata.name -l app=nothing",
    "apply -f changed.yaml",
    "apply -f changed.yaml --dry-run=server",
    "rollout status deploy/hello --timeout=60s",
    "set image deployment/hello app=IMAGE",
    "set image deployment/hello nothing=IMAGE",
    "set image deployment/hello app=IMAGE",
    "set env deployment/hello A=1",
    "rollout status deploy/hello --timeout=60s",
    "rollout history deploy/hello",
    "rollout history deploy/hello --revision=1",
    "rollout undo deploy/hello --to-revision=9",
    "rollout undo deploy/hello",
    "rollout status deploy/hello --timeout=60s",
    "rollout history deployment hello",
    "rollout pause deploy/hello",
    "rollout pause deploy/hello",
    "rollout undo deploy/hello",
    "rollout restart deploy/hello",
    "rollout resume deploy/hello",
    "rollout resume deploy/hello",
    "rollout restart deploy/hello",
    "rollout status deploy/hello --timeout=60s",
    "scale deploy/hello --replicas=1",
    "scale deploy hello --replicas 2 --current-replicas 5",
    "scale deploy/nothing --replicas=1",
    "scale deploy/hello",
    "label deploy hello tier=web",
    "label deploy hello tier=back",
    "label deploy hello tier=back --overwrite",
    "label deploy hello tier-",
    "label deploy hello tier-",
    "label deploy hello",
    "annotate deploy hello note=a",
    "annotate deploy hello note=c",
    "annotate deploy/hello note-",
    "patch deploy hello -p {\"spec\":{\"minReadySeconds\":1}}",
    "patch deploy hello -p {\"spec\":{\"minReadySeconds\":1}}",
    "patch deploy hello --type json -p [{\"op\":\"replace\",\"path\":\"/spec/minReadySeconds\",\"value\":0}]",
    "patch deploy hello --type merge -p spec:{replicas:3}",
    "patch deploy hello --type nothing -p {}",
    "patch deploy hello -p {\"spec\":{\"replicas\":-1}}",
    "patch deploy hello -p {\"spec\":{\"replicas\":-1,\"minReadySeconds\":-3}}",
    "patch deploy hello",
    "wait deploy/hello --for=jsonpath={.status.readyReplicas}=1 --timeout=60s",
    "wait deploy/hello --for=condition=Nothing --timeout=1s",
    "wait deploy/nothing --for=condition=Available --timeout=1s",
    "wait deploy/nothing --for=delete --timeout=5s",
    "wait deploy/hello --for=nothing",
    "wait pods --all --for=condition=Ready --timeout=60s -l app=nothing",
    "create -f hello.yaml",
    "create configmap made --from-literal=a=b",
    "create deployment made --image=IMAGE --replicas=1 --port=8080",
    "create deployment made --image=IMAGE",
    "create deployment made",
    "get deploy made -o yaml",
    "delete deploy made nothing",
    "delete cm made --wait=false",
    "delete cm made --ignore-not-found",
    "delete cm made",
    "delete pods -l app=nothing",
    "logs nothing",
    "get pods nothing nobody",
    "get pods,deploy nothing",
    "get nothing",
    "get rollouts.argoproj.io",
    "apply -f nothing.yaml",
    "apply",
    "config current-context",
    "delete -f changed.yaml",
    "delete -f changed.yaml",
];

#[test]
fn the_built_in_kubectl_says_what_kubectl_says() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("kubectl", &["2"]);
    let (first, second) = (lab.push_app("1.0.0"), lab.push_app("2.0.0"));
    let hello = manifests(&first);
    lab.write("hello.yaml", &hello);
    let changed = hello.replace("replicas: 2", "replicas: 3");
    lab.write(
        "changed.yaml",
        &changed.replace(", {name: B, value: \"true\"}", ""),
    );
    lab.kubectl(&["create", "namespace", "real"]);
    lab.kubectl(&["create", "namespace", "small"]);
    for command in COMMANDS {
        let words = command.replace("IMAGE", &second);
        let words: Vec<&str> = words.split(' ').collect();
        let real = lab.kubectl_of(KUBECTL, &[&["-n", "real"], &words[..]].concat());
        let small = built_in(&lab, &[&["-n", "small"], &words[..]].concat());
        assert_eq!(
            plain(command, &small, "small"),
            plain(command, &real, "real"),
            "kubectl {command}: {small}\nand the real one: {real}"
        );
    }
}

#[test]
fn the_built_in_kubectl_needs_no_kubeconfig_for_a_cluster_of_this_program() {
    let mut lab = Lab::started("own", &["1"]);
    lab.set("KUBECONFIG", "");
    let said = built_in(&lab, &["get", "nodes", "-o", "name"]);
    assert_eq!(said.succeeded("kubectl get nodes"), "node/node-1\n");
}

#[test]
fn what_is_not_built_in_is_refused_with_the_way_out() {
    let lab = Lab::new("refused");
    for words in [
        &["exec", "x", "--", "sh"][..],
        &["describe", "pod", "x"],
        &["get", "pods", "--frob"],
        &["rollout", "frob"],
    ] {
        let said = built_in(&lab, words);
        assert_eq!(said.code, Some(1), "{said}");
        assert!(said.stdout.is_empty(), "{said}");
        assert!(
            said.stderr
                .contains("install kubectl from your distribution"),
            "{said}"
        );
    }
}

#[test]
fn the_program_is_kubectl_under_that_name() {
    let lab = Lab::started("link", &["1"]);
    lab.ok(&["env"]);
    let link = lab.file("kubectl");
    let program = lab.program(&[]);
    std::os::unix::fs::symlink(program.get_program(), &link).expect("a link can be made");
    let mut kubectl = lab.command(&link.display().to_string());
    kubectl.args(["get", "nodes", "-o", "name"]);
    assert_eq!(run(kubectl).succeeded("kubectl get nodes"), "node/node-1\n");
}

fn built_in(lab: &Lab, words: &[&str]) -> Said {
    lab.devops_lab(&[&["kubectl"], words].concat())
}

/// Both streams and the exit code, without what varies.
fn plain(command: &str, said: &Said, namespace: &str) -> (Option<i32>, Vec<String>, Vec<String>) {
    let mut stdout = lines(&said.stdout, namespace);
    if command.starts_with("rollout status") {
        // How often it looks, and so what it sees on the way, is a client's own business.
        stdout.drain(..stdout.len().saturating_sub(1));
    }
    if command.starts_with("get pods") || command == "get all" {
        stdout.sort();
    }
    // Where kubectl was called by the name of its version, it says that name.
    let stderr = said
        .stderr
        .replace(&format!("kubectl-{KUBECTL}"), "kubectl");
    (said.code, stdout, lines(&stderr, namespace))
}

fn lines(text: &str, namespace: &str) -> Vec<String> {
    text.lines()
        .map(|line| plain_line(line, namespace))
        .collect()
}

fn plain_line(line: &str, namespace: &str) -> String {
    let key = line.trim().trim_start_matches("- ").trim_matches('"');
    let key = key.split(['"', ':']).next().unwrap_or_default();
    if VARYING.contains(&key) {
        return key.to_owned();
    }
    let words = line
        .split_whitespace()
        .map(|word| plain_word(word, namespace));
    words.collect::<Vec<_>>().join(" ")
}

fn plain_word(word: &str, namespace: &str) -> String {
    let age = word.ends_with(['s', 'm', 'h'])
        && word.starts_with(|first: char| first.is_ascii_digit())
        && word
            .chars()
            .all(|letter| letter.is_ascii_digit() || "smh".contains(letter));
    let address = word.matches('.').count() >= 3
        && word
            .trim_matches(['"', ','])
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == '.');
    let time = word.contains("T") && word.contains("Z") && word.contains("20");
    if age || address || time {
        return "VARIES".to_owned();
    }
    let word = word.replace(namespace, "NAMESPACE");
    // The last part of a pod's name.
    match word.find("hello-") {
        Some(at) if word[at..].matches('-').count() >= 2 => {
            let end = word.rfind('-').unwrap_or(word.len());
            format!("{}-POD", &word[..end])
        }
        _ => word,
    }
}
