//! What can be wrong gets a message that names the thing, the place and the next step, an exit
//! code that scripts can tell apart, and leaves nothing behind.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use crate::app;
use crate::lab::{KUBECTL, Lab, SOON, Said, run};
use crate::process;
use crate::tools::{Tool, needs};
use crate::wait::{Watch, wait_for, wait_until};

/// Exit code of a command line that makes no sense.
const USAGE: i32 = 2;
/// Exit code of something that did not work.
const FAILURE: i32 = 1;

/// A refusal whose whole message is known; `{home}` and `{name}` stand for those of the test.
#[track_caller]
fn check(lab: &Lab, args: &[&str], code: i32, message: &str) {
    refused(lab, &lab.devops_lab(args), code, message);
}

#[track_caller]
fn refused(lab: &Lab, said: &Said, code: i32, message: &str) {
    let home = lab.home().display().to_string();
    let expected = message
        .replace("{home}", &home)
        .replace("{name}", &lab.name);
    assert_eq!(said.stderr.trim_end(), expected);
    assert_eq!(said.code, Some(code));
    assert_eq!(said.stdout, "", "only data goes to standard output");
}

/// Nothing of a cluster is there: no process, no directory.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    assert!(
        !lab.home_of_cluster().exists(),
        "the directory of {} is still there",
        lab.name
    );
    assert_eq!(
        lab.processes(),
        [0_u32; 0],
        "processes of {} still run",
        lab.name
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_explained() {
    let lab = Lab::new("usage");
    let usage = |args: &[&str], first_line: &str| {
        let said = lab.devops_lab(args);
        assert_eq!(said.stderr.lines().next(), Some(first_line));
        assert_eq!(said.code, Some(USAGE));
        assert!(said.stderr.contains("try '--help'"), "{said}");
    };
    usage(
        &["start", "0"],
        "error: invalid value '0' for '[NODES]': 0 is not in 1..=65535",
    );
    usage(
        &["start", "many"],
        "error: invalid value 'many' for '[NODES]': invalid digit found in string",
    );
    usage(
        &["start", "--speed", "fast"],
        "error: invalid value 'fast' for '--speed <N>': it is not a number",
    );
    usage(
        &["start", "--speed", "0"],
        "error: invalid value '0' for '--speed <N>': 0 is not between 0.1 and 1000",
    );
    usage(
        &["start", "--engine", "vm"],
        "error: invalid value 'vm' for '--engine <ENGINE>'",
    );
    usage(
        &["frobnicate"],
        "error: unrecognized subcommand 'frobnicate'",
    );
    usage(
        &["status", "-o", "yaml"],
        "error: invalid value 'yaml' for '--output <OUTPUT>'",
    );
    // A name that leads out of the home must never reach `delete`.
    for name in ["..", "", "My Lab", "a/b"] {
        let problem =
            "use up to 40 lower-case letters, digits and '-', with a letter or digit at both ends";
        let line = format!(
            "error: invalid value '{name}' for '--name <NAME>': {name:?} is not a name: {problem}"
        );
        let given = format!("--name={name}");
        usage(&["start", &given], &line);
        usage(&["delete", &given], &line);
    }
}

#[test]
fn a_cluster_that_is_not_there_is_said_with_those_that_are() {
    let lab = Lab::in_private_home("absent");
    let none = "error: there is no cluster \"{name}\"; start one: devops-lab start 3";
    for args in [
        &["status"][..],
        &["stop"],
        &["env"],
        &["logs"],
        &["node", "add"],
        &["image", "ls"],
        &["registry", "gc"],
    ] {
        check(&lab, args, FAILURE, none);
    }
    check(
        &lab,
        &["delete"],
        FAILURE,
        "error: failed to delete cluster \"{name}\"\n  cause: there is no cluster named \"{name}\"",
    );
    check(
        &lab,
        &["start", "200", "--engine", "process"],
        FAILURE,
        "error: 200 nodes are more than the 120 that the process engine carries",
    );
    nothing_is_left(&lab);
}

#[test]
fn a_cluster_file_is_refused_with_its_line_and_field() {
    let lab = Lab::new("file");
    let case = |text: &str, message: &str| {
        lab.write("cluster.yaml", text);
        check(
            &lab,
            &["start", "--config", "cluster.yaml"],
            FAILURE,
            message,
        );
        nothing_is_left(&lab);
    };
    const HEAD: &str = "apiVersion: devops-lab.dev/v1\nkind: Cluster\n";
    case(
        &format!("{HEAD}spec:\n  nodez: 3\n"),
        "error: the cluster file cluster.yaml is not valid:
line 4 column 3: unknown field `nodez`, expected one of nodes, engine, speed, ports, node
 --> cluster.yaml:4:3
  |
2 | kind: Cluster
3 | spec:
4 |   nodez: 3
  |   ^ unknown field `nodez`, expected one of nodes, engine, speed, ports, node",
    );
    case(
        &format!("{HEAD}spec:\n  nodes: three\n"),
        "error: the cluster file cluster.yaml is not valid:
line 4 column 10: not a whole number that fits here
 --> cluster.yaml:4:10
  |
2 | kind: Cluster
3 | spec:
4 |   nodes: three
  |          ^ not a whole number that fits here",
    );
    case(
        &format!("{HEAD}spec:\n  nodes: 0\n"),
        "error: the cluster file cluster.yaml: spec.nodes: a cluster needs at least 1 node",
    );
    case(
        "apiVersion: devops-lab.dev/v9\nkind: Cluster\n",
        "error: the cluster file cluster.yaml: apiVersion: \"devops-lab.dev/v9\" is not known to this version of devops-lab, which reads \"devops-lab.dev/v1\"; a newer file needs a newer devops-lab",
    );
    check(
        &lab,
        &["start", "--config", "absent.yaml"],
        FAILURE,
        "error: failed to read the cluster file absent.yaml\n  cause: No such file or directory (os error 2)",
    );
}

#[test]
fn a_damaged_record_names_the_command_that_removes_it() {
    let lab = Lab::in_private_home("damaged");
    std::fs::create_dir_all(lab.home_of_cluster()).unwrap();
    std::fs::write(
        lab.home_of_cluster().join("cluster.json"),
        "{\"version\": 1, \"name\": 7}",
    )
    .unwrap();
    for args in [&["status"][..], &["start"], &["stop"]] {
        let said = lab.devops_lab(args);
        assert_eq!(said.code, Some(FAILURE), "{said}");
        let place = lab
            .home_of_cluster()
            .join("cluster.json")
            .display()
            .to_string();
        let next = format!(
            "`devops-lab delete --name {}` removes the cluster",
            lab.name
        );
        assert!(
            said.stderr
                .starts_with(&format!("error: {place} is damaged (")),
            "{said}"
        );
        assert!(said.stderr.contains(&next), "{said}");
    }
    lab.ok(&["delete"]);
    nothing_is_left(&lab);
}

#[test]
fn a_running_cluster_whose_record_is_damaged_can_be_deleted() {
    let lab = Lab::started("orphans", &["2"]);
    assert_ne!(lab.processes(), [0_u32; 0]);
    std::fs::write(lab.home_of_cluster().join("cluster.json"), "").unwrap();
    lab.ok(&["delete"]);
    nothing_is_left(&lab);
}

#[test]
fn a_record_of_a_newer_program_is_left_alone() {
    let lab = Lab::in_private_home("newer");
    std::fs::create_dir_all(lab.home_of_cluster()).unwrap();
    let path = lab.home_of_cluster().join("cluster.json");
    std::fs::write(&path, "{\"version\": 99}").unwrap();
    let message = "{home}/clusters/{name}/cluster.json was written by a newer devops-lab (record version 99, this program reads up to 1); install the newer program, or delete the cluster with it";
    check(&lab, &["start"], FAILURE, &format!("error: {message}"));
    check(&lab, &["status"], FAILURE, &format!("error: {message}"));
    check(
        &lab,
        &["delete"],
        FAILURE,
        &format!("error: failed to delete cluster \"{{name}}\"\n  cause: {message}"),
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"version\": 99}");
    std::fs::remove_dir_all(lab.home_of_cluster()).unwrap();
}

#[test]
fn without_a_home_it_is_said_what_to_set() {
    let lab = Lab::new("homeless");
    let mut command = lab.program(&["status"]);
    command.env_remove("HOME").env_remove("DEVOPS_LAB_HOME");
    let message = "error: neither DEVOPS_LAB_HOME, XDG_DATA_HOME nor HOME is set: set one of them to say where clusters are kept";
    refused(&lab, &run(command), FAILURE, message);
    let mut command = lab.program(&["start", "1", "--engine", "process"]);
    command.env_remove("HOME").env_remove("KUBECONFIG");
    let message =
        "error: neither KUBECONFIG nor HOME is set: set one of them, or use --no-kubeconfig";
    refused(&lab, &run(command), FAILURE, message);
    nothing_is_left(&lab);
}

#[test]
fn a_kubeconfig_that_is_none_is_left_as_it_is() {
    let mut lab = Lab::new("config");
    let path = lab.write("config", "just: [a\n");
    lab.set("KUBECONFIG", &path);
    let said = lab.devops_lab(&["start", "1", "--engine", "process"]);
    assert_eq!(said.code, Some(FAILURE), "{said}");
    let expected = format!(
        "error: {path} is not a kubeconfig and was left as it is; repair it, or use --no-kubeconfig and `devops-lab env`\n"
    );
    assert!(said.stderr.contains(&expected), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "just: [a\n");
    nothing_is_left(&lab);
}

#[test]
fn a_preferred_port_that_is_taken_is_passed_over_and_said() {
    let lab = Lab::new("taken");
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = stranger.local_addr().unwrap().port();
    lab.write("cluster.yaml", &with_api_port(port));
    let said = lab.start(&["1", "--config", "cluster.yaml"]);
    let said_so = said
        .lines()
        .find(|line| line.starts_with(&format!("Port {port} for the Kubernetes API is in use; ")));
    let taken = said_so.unwrap_or_else(|| panic!("nothing is said of port {port}: {said}"));
    let api = lab.address("api");
    let number = api.rsplit(':').next().unwrap();
    assert_eq!(
        taken,
        format!("Port {port} for the Kubernetes API is in use; {number} was taken and is kept.")
    );
}

#[test]
fn without_a_free_port_nothing_is_begun() {
    let lab = Lab::new("ports");
    // It may be taken already: then it is taken all the more.
    let _last = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::MAX));
    lab.write("cluster.yaml", &with_api_port(u16::MAX));
    let message = "error: no free port on 127.0.0.1 from 65535 to 65535 for the Kubernetes API: free one of them, or choose another in a cluster file (spec.ports)";
    check(
        &lab,
        &[
            "start",
            "--engine",
            "process",
            "--no-kubeconfig",
            "--config",
            "cluster.yaml",
        ],
        FAILURE,
        message,
    );
    nothing_is_left(&lab);
}

fn with_api_port(port: u16) -> String {
    format!("apiVersion: devops-lab.dev/v1\nkind: Cluster\nspec:\n  ports:\n    api: {port}\n")
}

#[test]
fn a_port_that_a_stranger_took_while_the_cluster_was_away_is_named() {
    let lab = Lab::started("stranger", &["1"]);
    for part in ["api", "production", "test", "registry"] {
        let address = lab.address(part);
        let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
        lab.ok(&["stop"]);
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let watch = Watch::start();
        let said = lab.devops_lab(&["start", "--no-kubeconfig"]);
        assert_eq!(said.code, Some(FAILURE), "{said}");
        assert!(
            said.stderr
                .contains(&format!("error: port {port} for the ")),
            "{said}"
        );
        assert!(
            said.stderr
                .contains(&format!("`ss -ltnp 'sport = :{port}'`")),
            "{said}"
        );
        assert!(
            watch.elapsed() < SOON,
            "it took {:?} to say so",
            watch.elapsed()
        );
        drop(stranger);
        lab.start(&[]);
        assert_eq!(lab.address(part), address);
    }
}

#[test]
fn images_go_to_the_registry_of_a_cluster_and_nowhere_else() {
    let lab = Lab::in_private_home("push");
    let directory = lab.file("app");
    app::write(&directory, "1.0.0");
    check(
        &lab,
        &["image", "push", "docker.io/library/hello:1"],
        FAILURE,
        "error: docker.io/library/hello:1 names the registry docker.io, and only the registry of a cluster here can be pushed to: tag it localhost:PORT/NAME:TAG (devops-lab status says the port)",
    );
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let image = format!("localhost:{nobody}/hello:1");
    check(
        &lab,
        &["image", "push", &image],
        FAILURE,
        &format!(
            "error: cannot read image {image} from the local store\n  cause: image {image} is not in the local image store; build it with devops-lab image build"
        ),
    );
    let built = lab.devops_lab(&["image", "build", "-t", &image, "--push", "app"]);
    assert_eq!(built.code, Some(FAILURE), "{built}");
    assert!(
        built.stderr.contains(&format!("localhost:{nobody}")),
        "{built}"
    );
    check(
        &lab,
        &["image", "build", "-t", "Bad Name", "app"],
        FAILURE,
        "error: image name \"Bad Name\" is not valid: it must be lower case",
    );
    lab.write("app/Dockerfile", "FROM devops-lab/runtime:1\nRUN make\n");
    let run = lab.devops_lab(&["image", "build", "-t", &image, "app"]);
    assert_eq!(run.code, Some(FAILURE), "{run}");
    assert!(
        run.stderr.contains("RUN") && run.stderr.contains('2'),
        "{run}"
    );
}

#[test]
fn what_cannot_be_changed_on_a_cluster_is_refused_with_the_way_out() {
    let lab = Lab::started("changes", &["1"]);
    check(
        &lab,
        &["start", "--no-kubeconfig", "--engine", "simulated"],
        FAILURE,
        "error: cluster \"{name}\" runs on the process engine; to have one on simulated, delete it first (devops-lab delete --name {name}) or start another (--name OTHER)",
    );
    check(
        &lab,
        &["start", "--no-kubeconfig", "--speed", "5"],
        FAILURE,
        "error: cluster \"{name}\" runs at speed 1; to have one at 5, delete it first (devops-lab delete --name {name})",
    );
    check(&lab, &["delete", "--all"], FAILURE, &deletes_all(&lab));
    assert_eq!(lab.status()["state"], "Running");
}

/// Other tests have clusters in the same home.
fn deletes_all(lab: &Lab) -> String {
    let mut names: Vec<_> = std::fs::read_dir(lab.home().join("clusters"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    format!(
        "error: this would delete {}; say --yes where nobody can be asked",
        names.join(", ")
    )
}

#[test]
fn pods_that_cannot_run_say_why() {
    needs!(Tool::Kubectl(KUBECTL));
    let lab = Lab::started("pods", &["1", "--speed", "20"]);
    let good = lab.push_app("1.0.0");
    let crashing = lab.file("crashing");
    app::write_crashing(&crashing);
    let crashing = lab.push(&crashing, "crashing", "1");
    let registry = lab.address("registry");
    let (tagless, nameless) = (
        format!("{registry}/hello:9"),
        format!("{registry}/nobody:1"),
    );
    for (name, image) in [
        ("tagless", tagless.as_str()),
        ("nameless", &nameless),
        ("foreign", "nginx:1.27"),
        ("crashing", &crashing),
    ] {
        lab.kubectl(&["run", name, "--image", image]);
    }
    lab.apply(
        &app::manifests("unready", 1, &good)
            .replace("path: /readyz", "path: /nowhere, port: 9999")
            .replace(", port: http}, period", "}, period"),
    );
    lab.apply(&app::deployment("greedy", 1, &good).replace("cpu: 50m", "cpu: \"64\""));

    let push = |image: &str| {
        format!("Push it there: docker push {image}, or devops-lab image push {image}")
    };
    waits(
        &lab,
        "tagless",
        "ImagePullBackOff",
        &format!(
            "Back-off pulling image \"{tagless}\": ErrImagePull: image \"{tagless}\" is not in this cluster's registry (hello has the tags 1.0.0). {}",
            push(&tagless)
        ),
    );
    waits(
        &lab,
        "nameless",
        "ImagePullBackOff",
        &format!(
            "Back-off pulling image \"{nameless}\": ErrImagePull: image \"{nameless}\" is not in this cluster's registry (it has crashing, hello). {}",
            push(&nameless)
        ),
    );
    waits(
        &lab,
        "foreign",
        "ImagePullBackOff",
        &format!(
            "Back-off pulling image \"nginx:1.27\": ErrImagePull: image \"nginx:1.27\" is not in this cluster's registry; the process engine runs images from {registry} only. Push it there (devops-lab image push {registry}/…) or start the cluster with --engine docker"
        ),
    );
    waits(
        &lab,
        "crashing",
        "CrashLoopBackOff",
        "restarting failed container=crashing pod=crashing_default(",
    );
    let ended = "{.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.reason}";
    assert_eq!(lab.json_path(&["pod/crashing"], ended), "1 Error");
    assert!(
        lab.kubectl(&["logs", "crashing"])
            .contains("no database here")
    );

    event(
        &lab,
        "Failed",
        &format!("Failed to pull image \"{tagless}\": "),
    );
    event(
        &lab,
        "FailedScheduling",
        "0/1 nodes are available: 1 Insufficient cpu.",
    );
    event(
        &lab,
        "Unhealthy",
        "Readiness probe failed: Get \"http://127.",
    );
    event(
        &lab,
        "BackOff",
        "Back-off restarting failed container crashing in pod crashing_default(",
    );

    let ready = "{.items[*].endpoints[*].conditions.ready}";
    lab.wait_for_value(
        &["endpointslices", "-l", "kubernetes.io/service-name=unready"],
        ready,
        "false",
    );
    let answer = crate::http::get(&lab.address("production")).unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    let available = lab.kubectl(&["get", "deployments", "unready", "greedy", "--no-headers"]);
    assert_eq!(available.matches(" 0/1 ").count(), 2, "{available}");
}

/// Waits until a pod's container waits for this reason, with a message that contains these words.
#[track_caller]
fn waits(lab: &Lab, pod: &str, reason: &str, words: &str) {
    let pod = format!("pod/{pod}");
    let waiting = "{.status.containerStatuses[0].state.waiting";
    wait_for(&format!("{pod} waits: {reason}: {words}"), SOON, || {
        let found = lab.json_path(&[&pod], &format!("{waiting}.reason}}: {waiting}.message}}"));
        if found.starts_with(reason) && found.contains(words) {
            Ok(())
        } else {
            Err(found)
        }
    });
}

/// Waits for an event with this reason whose message begins with these words.
#[track_caller]
fn event(lab: &Lab, reason: &str, words: &str) {
    let messages = "{range .items[*]}{.message}{'\\n'}{end}";
    wait_for(&format!("event {reason}: {words}"), SOON, || {
        let found = lab.json_path(
            &["events", "--field-selector", &format!("reason={reason}")],
            messages,
        );
        if found.lines().any(|line| line.starts_with(words)) {
            Ok(())
        } else {
            Err(found)
        }
    });
}

#[test]
fn a_full_disk_ends_a_start_with_a_word_and_leaves_nothing() {
    needs!(Tool::Mount);
    for size in ["4k", "48k", "64k"] {
        let mut lab = Lab::new("full");
        let said = wait_for("a start with a disk of its own", SOON, || {
            let said = start_on_a_disk_of(size, &mut lab);
            // Another test's cluster, in another home, may have been faster to take a port.
            if said.stderr.contains("in use") {
                Err(said.to_string())
            } else {
                Ok(said)
            }
        });
        assert_eq!(said.code, Some(FAILURE), "with {size}: {said}");
        let named = ["No space left on device", "no space is left on the disk"];
        assert!(
            named.iter().any(|words| said.stderr.contains(words)),
            "with {size}: {said}"
        );
        assert_eq!(said.stdout, "", "with {size}, files are left");
        assert_eq!(
            lab.processes(),
            [0_u32; 0],
            "with {size}, processes are left"
        );
    }
}

/// A start whose home is a file system of this size, and then the names of the files in it.
fn start_on_a_disk_of(size: &str, lab: &mut Lab) -> Said {
    let small = lab.file("small").display().to_string();
    std::fs::create_dir_all(&small).expect("a directory can be made");
    lab.set("DEVOPS_LAB_HOME", &small);
    // This home knows nothing of the ports that clusters in the other one keep while stopped.
    let listeners =
        [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"));
    let [api, production, test, https, registry] =
        listeners.map(|listener| listener.local_addr().expect("it listens").port());
    let ports = format!(
        "{{api: {api}, production: {production}, test: {test}, https: {https}, registry: {registry}}}"
    );
    lab.write("cluster.yaml", &format!("apiVersion: devops-lab.dev/v1\nkind: Cluster\nspec:\n  nodes: 1\n  engine: process\n  ports: {ports}\n"));
    let start = lab.program(&["start", "--no-kubeconfig", "--config", "cluster.yaml"]);
    // In a mount namespace of its own, the file system goes with the last process.
    let script = format!(
        "mount -t tmpfs -o size={size} none {small} && \"$@\"; code=$?; find {small}/clusters -mindepth 1; exit $code"
    );
    let mut command = lab.command("unshare");
    command
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(start.get_program())
        .args(start.get_args());
    run(command)
}

#[test]
fn a_start_that_is_interrupted_leaves_nothing() {
    let lab = Lab::new("interrupt");
    let begun = wait_for("a start that is interrupted in the middle", SOON, || {
        let mut start = lab.program(&["start", "20", "--engine", "process", "--no-kubeconfig"]);
        let start = start
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("something is begun", SOON, || {
            lab.home_of_cluster().join("run").exists()
        });
        process::interrupt(start.id());
        let ended = start.wait_with_output().unwrap();
        assert_eq!(ended.status.signal(), None, "it cleans up before it ends");
        if ended.status.success() {
            // It was faster than the signal: once more.
            lab.ok(&["delete"]);
            return Err("it had ended already".to_owned());
        }
        assert_eq!(ended.status.code(), Some(130));
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
    });
    assert!(
        begun.contains("Interrupted: removing what was begun …\nNothing is left of it."),
        "{begun}"
    );
    nothing_is_left(&lab);
}
