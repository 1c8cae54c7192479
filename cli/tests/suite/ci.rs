//! Pipelines by `git push`: with the hook that a push calls, and the cluster that images go to.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::lab::{Lab, SOON, Said, run};
use crate::process;
use crate::tools::{Tool, needs};
use crate::wait::{wait_for, wait_until};

const TEST_AND_IMAGE: &str = r#"name: CI
on: push
jobs:
  test:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - {name: Unit tests, run: devops-lab app test app.test.js}
  image:
    needs: test
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - id: short
        run: echo "sha=$(git rev-parse --short=7 HEAD)" >> "$GITHUB_OUTPUT"
      - name: Build and push
        run: devops-lab image build -t "${{ vars.REGISTRY }}/hello:${{ steps.short.outputs.sha }}" --push .
"#;

/// A project that is pushed to a repository of the cluster.
struct Project<'a> {
    lab: &'a Lab,
    dir: PathBuf,
}

impl<'a> Project<'a> {
    fn new(lab: &'a Lab) -> Self {
        lab.ok(&["ci", "init", "hello"]);
        let project = Self {
            lab,
            dir: lab.file("project"),
        };
        std::fs::create_dir(&project.dir).unwrap();
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        let remote = lab.ok(&["ci", "remote", "hello"]);
        project.git(&["remote", "add", "lab", remote.trim()]);
        project
    }

    fn git_command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.command("git");
        for role in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{role}_NAME"), "Ada");
            command.env(format!("GIT_{role}_EMAIL"), "ada@example.org");
        }
        command.args(args).current_dir(&self.dir);
        command
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        run(self.git_command(args)).succeeded(&format!("git {}", args.join(" ")))
    }

    /// Writes files and commits them; the commit.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            let path = self.dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "Change it"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Pushes; what git shows.
    #[track_caller]
    fn push(&self) -> String {
        let said = run(self.git_command(&["push", "lab", "main"]));
        assert_eq!(said.code, Some(0), "{said}");
        said.stderr
    }

    /// Commits a workflow of one step that writes its process id and stays, and pushes it.
    fn push_and_stay(&self) -> (Child, u32) {
        let pid = self.lab.file("pid");
        let workflow = format!(
            "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{{run: 'sleep 3600 & echo $! > {}; wait'}}]\n",
            pid.display()
        );
        self.commit(&[(".github/workflows/ci.yml", &workflow)]);
        let mut command = self.git_command(&["push", "lab", "main"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // As a terminal starts it: Ctrl-C then reaches git and the hook, and nothing of ours.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().unwrap();
        let pid = wait_for("the step runs", SOON, || {
            let text = std::fs::read_to_string(&pid).unwrap_or_default();
            text.trim().parse().map_err(|_| text)
        });
        (child, pid)
    }

    fn runs(&self) -> Vec<Value> {
        let text = self.lab.ok(&["ci", "list", "hello", "-o", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    fn conclusion(&self, number: u64) -> Value {
        let runs = self.runs();
        let run = runs.iter().find(|run| run["number"] == number);
        run.map_or(Value::Null, |run| run["conclusion"].clone())
    }

    fn work(&self, number: u64) -> PathBuf {
        let dir = self.lab.home_of_cluster().join("pipelines/hello");
        dir.join(number.to_string()).join("work")
    }

    fn images(&self) -> String {
        self.lab.ok(&["image", "ls"])
    }
}

fn is_alive(pid: u32) -> bool {
    process::all().iter().any(|process| process.pid == pid)
}

fn app(test: &str) -> Vec<(&'static str, String)> {
    vec![
        (".github/workflows/ci.yml", TEST_AND_IMAGE.to_owned()),
        (
            "app.js",
            "export default { fetch() { return \"hello\"; } };\n".to_owned(),
        ),
        (
            "app.test.js",
            format!("test(\"greets\", () => assert({test}));\n"),
        ),
        ("Dockerfile", crate::app::DOCKERFILE.to_owned()),
    ]
}

fn files<'a>(app: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    app.iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect()
}

#[test]
fn a_push_tests_and_builds_and_a_red_test_stops_before_the_image() {
    needs!(Tool::Git);
    let lab = Lab::started("ci-push", &["1"]);
    let project = Project::new(&lab);

    let green = project.commit(&files(&app("true")));
    let shown = project.push();
    for text in [
        "remote: ── hello: CI, run 1",
        "ok 1 - greets",
        "✓ Build and push",
        "success: CI, run 1",
    ] {
        assert!(shown.contains(text), "{text:?} is missing:\n{shown}");
    }
    assert!(project.images().contains(&format!("hello:{}", &green[..7])));

    let red = project.commit(&files(&app("false")));
    let shown = project.push();
    for text in [
        "✗ Unit tests",
        "image: skipped (test: failure)",
        "error: CI, run 2 failed",
    ] {
        assert!(shown.contains(text), "{text:?} is missing:\n{shown}");
    }
    assert!(
        !project.images().contains(&red[..7]),
        "a red commit has an image"
    );
    assert_eq!(project.conclusion(2), "failure");

    let failed = lab.ok(&["ci", "logs", "hello", "2", "--failed"]);
    assert!(
        failed.contains("Unit tests") && !failed.contains("checkout"),
        "{failed}"
    );
    let again = lab.devops_lab(&["ci", "rerun", "2"]);
    assert_eq!(again.code, Some(1), "{again}");
    assert_eq!(project.runs()[0]["attempt"], 2);
}

#[test]
fn ctrl_c_during_a_push_leaves_no_process_and_no_directory() {
    needs!(Tool::Git);
    let lab = Lab::started("ci-cancel", &["1"]);
    let project = Project::new(&lab);
    let (mut push, step) = project.push_and_stay();
    interrupt_group(push.id());
    push.wait().unwrap();
    wait_until("the run is cancelled", SOON, || {
        project.conclusion(1) == "cancelled"
    });
    wait_until("nothing is left", SOON, || {
        !is_alive(step) && !project.work(1).exists()
    });
}

/// Presses Ctrl-C in the terminal of a process group.
fn interrupt_group(leader: u32) {
    let group = i32::try_from(leader)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let group = group.expect("a process has a number");
    rustix::process::kill_process_group(group, rustix::process::Signal::INT).unwrap();
}

#[test]
fn what_a_killed_hook_leaves_is_removed_by_the_next_push() {
    needs!(Tool::Git);
    let lab = Lab::started("ci-killed", &["1"]);
    let project = Project::new(&lab);
    let (mut push, step) = project.push_and_stay();
    let hook: Vec<_> = process::all()
        .into_iter()
        .filter(|process| process.contains("ci\0hook\0hello\0") && process.contains(&lab.name))
        .map(|process| process.pid)
        .collect();
    process::kill(&hook);
    push.wait().unwrap();
    assert_eq!(
        project.conclusion(1),
        "cancelled",
        "the record does not wait for the next push"
    );
    project.commit(&[(
        ".github/workflows/ci.yml",
        "on: push\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n",
    )]);
    project.push();
    assert!(!is_alive(step), "the step goes on");
    assert!(!project.work(1).exists(), "its work directory is there");
}

#[test]
fn deleting_the_cluster_ends_its_pipelines() {
    needs!(Tool::Git);
    let lab = Lab::started("ci-delete", &["1"]);
    let project = Project::new(&lab);
    let (mut push, step) = project.push_and_stay();
    lab.ok(&["delete"]);
    push.wait().unwrap();
    assert!(!is_alive(step), "the step goes on");
    assert!(!lab.home_of_cluster().exists());
}

#[test]
fn a_push_is_stored_where_its_pipeline_cannot_run_or_not_push() {
    needs!(Tool::Git);
    let lab = Lab::started("ci-away", &["1"]);
    let project = Project::new(&lab);
    lab.ok(&["stop"]);
    project.commit(&[(
        ".github/workflows/ci.yml",
        "on: push\njobs: {a: {runs-on: x, steps: [{run: echo it runs}]}}\n",
    )]);
    let shown = project.push();
    assert!(
        shown.contains("is stopped") && shown.contains("it runs"),
        "{shown}"
    );

    let hook = lab
        .home_of_cluster()
        .join("git/hello.git/hooks/post-receive");
    let text = std::fs::read_to_string(&hook).unwrap();
    let moved: String = text
        .lines()
        .map(|line| {
            if line.starts_with("program=") {
                "program=/nowhere/devops-lab\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(&hook, moved).unwrap();
    project.commit(&[]);
    let mut command = project.git_command(&["push", "lab", "main"]);
    // Where no other devops-lab is found either.
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let said: Said = run(command);
    assert_eq!(said.code, Some(0), "{said}");
    assert!(
        said.stderr.contains("Your push is stored")
            && said.stderr.contains("devops-lab ci init hello"),
        "{said}"
    );
    assert_eq!(project.runs().len(), 1);

    let unknown = lab.devops_lab(&["ci", "remote", "helo"]);
    assert_eq!(unknown.code, Some(1), "{unknown}");
    assert!(unknown.stderr.contains("there are: hello"), "{unknown}");
}
