//! A cluster for one test, and the clients that drive it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::app;
use crate::http::{self, Answer};
use crate::wait::wait_for;

/// The kubectl that tests use unless they name another.
pub(crate) const KUBECTL: &str = "1.36";
/// How long anything may take that takes a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The program under test: the one that was built with the tests, or another (a release build, an
/// installed one) that `DEVOPS_LAB_TEST_PROGRAM` names.
fn program_path() -> String {
    std::env::var("DEVOPS_LAB_TEST_PROGRAM")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_devops-lab").to_owned())
}

/// The home of every cluster of this run, for as long as one test uses it.
static HOME: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
/// Makes names differ.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A cluster that may or may not have been started, deleted at the end.
pub(crate) struct Lab {
    pub(crate) name: String,
    home: Arc<TempDir>,
    /// Files of the test: applications, manifests, configuration, kubeconfig.
    files: TempDir,
    environment: BTreeMap<String, String>,
}

/// What a program said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Lab {
    /// A cluster that is yet to be started.
    pub(crate) fn new(topic: &str) -> Self {
        Self::at(shared_home(), topic)
    }

    /// As [`Lab::new`], in a home that no other test sees.
    pub(crate) fn in_private_home(topic: &str) -> Self {
        Self::at(Arc::new(TempDir::new().expect("a home can be made")), topic)
    }

    fn at(home: Arc<TempDir>, topic: &str) -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("{topic}-{}-{count}", std::process::id()),
            home,
            files: TempDir::new().expect("a directory can be made"),
            environment: BTreeMap::new(),
        }
    }

    /// A running cluster of the process engine.
    #[track_caller]
    pub(crate) fn started(topic: &str, args: &[&str]) -> Self {
        let lab = Self::new(topic);
        lab.start(args);
        lab
    }

    /// Starts the cluster, or brings it back.
    #[track_caller]
    pub(crate) fn start(&self, args: &[&str]) -> String {
        let engine = if self.home_of_cluster().exists() {
            &[][..]
        } else {
            &["--engine", "process"][..]
        };
        self.ok(&[&["start", "--no-kubeconfig"], engine, args].concat())
    }

    /// Where clusters and images are kept.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where this cluster is kept.
    pub(crate) fn home_of_cluster(&self) -> PathBuf {
        self.home().join("clusters").join(&self.name)
    }

    /// A path for a file of the test.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Writes a file of the test.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, content).expect("a test's file can be written");
        path.display().to_string()
    }

    /// Sets a variable for everything that is run from now on.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment
            .insert(variable.to_owned(), value.to_owned());
    }

    /// A program with the environment of this cluster and of nobody's terminal.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.files.path())
            .env("DEVOPS_LAB_HOME", self.home())
            .env("DEVOPS_LAB_CLUSTER", &self.name)
            .env("KUBECONFIG", self.home_of_cluster().join("kubeconfig"))
            .envs(&self.environment)
            .current_dir(self.files.path())
            .stdin(Stdio::null());
        command
    }

    /// The program under test.
    pub(crate) fn program(&self, args: &[&str]) -> Command {
        let mut command = self.command(&program_path());
        command.args(args);
        command
    }

    /// Runs the program under test, whatever comes of it.
    pub(crate) fn devops_lab(&self, args: &[&str]) -> Said {
        run(self.program(args))
    }

    /// Runs the program under test, which must succeed; its standard output.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.devops_lab(args)
            .succeeded(&format!("devops-lab {}", args.join(" ")))
    }

    /// Runs a kubectl of this version, whatever comes of it.
    pub(crate) fn kubectl_of(&self, version: &str, args: &[&str]) -> Said {
        self.write_kubeconfig();
        let mut command = self.command(&format!("kubectl-{version}"));
        command.args(args);
        run(command)
    }

    /// Runs kubectl, which must succeed; its standard output.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_of(KUBECTL, args)
            .succeeded(&format!("kubectl {}", args.join(" ")))
    }

    /// `devops-lab env` writes the kubeconfig that `KUBECONFIG` names.
    fn write_kubeconfig(&self) {
        if !self.home_of_cluster().join("kubeconfig").exists() {
            self.ok(&["env"]);
        }
    }

    /// Applies a manifest.
    #[track_caller]
    pub(crate) fn apply(&self, manifest: &str) -> String {
        let path = self.write("manifest.yaml", manifest);
        self.kubectl(&["apply", "-f", &path])
    }

    /// A part of an object or list, by kubectl's JSONPath.
    #[track_caller]
    pub(crate) fn json_path(&self, what: &[&str], path: &str) -> String {
        let output = format!("jsonpath={path}");
        self.kubectl(&[&["get"], what, &["-o", &output]].concat())
    }

    /// Waits until a part of an object reads so.
    #[track_caller]
    pub(crate) fn wait_for_value(&self, what: &[&str], path: &str, expected: &str) {
        wait_for(
            &format!("{what:?} {path} is {expected:?}"),
            SOON,
            || match self.json_path(what, path) {
                value if value == expected => Ok(()),
                other => Err(other),
            },
        );
    }

    /// Waits until a Deployment is rolled out.
    #[track_caller]
    pub(crate) fn rolled_out(&self, deployment: &str) {
        self.kubectl(&["rollout", "status", deployment, "--timeout", "60s"]);
    }

    /// `status -o json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let said = self.devops_lab(&["status", "-o", "json"]);
        serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("status is not JSON ({error}): {said}"))
    }

    /// An address of the status: `api`, `production`, `test` or `registry`.
    #[track_caller]
    pub(crate) fn address(&self, of: &str) -> String {
        self.status()["addresses"][of]
            .as_str()
            .expect("status names every address")
            .to_owned()
    }

    /// The process of a part.
    #[track_caller]
    pub(crate) fn pid(&self, part: &str) -> u32 {
        let status = self.status();
        let parts = status["components"]
            .as_array()
            .expect("status lists the parts");
        let part = parts
            .iter()
            .find(|candidate| candidate["name"] == part)
            .expect("the part exists");
        let handle = part["handle"].as_str().expect("a part has a handle");
        handle
            .trim_start_matches("process ")
            .parse()
            .expect("a running part has a process")
    }

    /// Every running process that belongs to this cluster, pods included.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let dir = self.home_of_cluster();
        crate::process::all()
            .into_iter()
            .filter(|process| process.mentions(&dir, &self.name))
            .map(|p| p.pid)
            .collect()
    }

    /// Builds the test's application and pushes it; the image's name.
    #[track_caller]
    pub(crate) fn push_app(&self, version: &str) -> String {
        let directory = self.file("app");
        app::write(&directory, version);
        self.push(&directory, "hello", version)
    }

    /// Builds a directory and pushes it; the image's name.
    #[track_caller]
    pub(crate) fn push(&self, directory: &Path, name: &str, tag: &str) -> String {
        let image = format!("{}/{name}:{tag}", self.address("registry"));
        self.ok(&[
            "image",
            "build",
            "-t",
            &image,
            "--push",
            &directory.display().to_string(),
        ]);
        image
    }

    /// Three replicas behind the load balancer; the address that answers.
    #[track_caller]
    pub(crate) fn deploy_hello(&self) -> String {
        let image = self.push_app("1.0.0");
        self.apply(&app::manifests("hello", 3, &image));
        self.rolled_out("deployment/hello");
        let url = self.address("production");
        self.answers(&url, 3);
        url
    }

    /// Waits until as many pods answer at an address.
    #[track_caller]
    pub(crate) fn answers(&self, url: &str, pods: usize) -> BTreeSet<String> {
        wait_for(&format!("{pods} pods answer at {url}"), SOON, || {
            let answers: Vec<_> = (0..3 * pods).map(|_| http::get(url)).collect();
            let good = |answer: &Answer| answer.status == 200;
            let names: BTreeSet<_> = answers
                .iter()
                .flatten()
                .filter(|a| good(a))
                .map(|a| a.member("pod"))
                .collect();
            let all = answers.iter().all(|answer| answer.as_ref().is_ok_and(good));
            if all && names.len() == pods {
                Ok(names)
            } else {
                Err(format!("{answers:?}"))
            }
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.home_of_cluster().exists() {
            return;
        }
        if std::thread::panicking() {
            self.tell_logs();
        }
        let said = self.devops_lab(&["delete"]);
        if said.code != Some(0) && !std::thread::panicking() {
            panic!("the cluster could not be deleted: {said}");
        }
    }
}

impl Lab {
    /// What the parts logged, for whoever looks into a failed test.
    fn tell_logs(&self) {
        let logs = std::fs::read_dir(self.home_of_cluster().join("logs"))
            .into_iter()
            .flatten()
            .flatten();
        for log in logs {
            let text = std::fs::read_to_string(log.path()).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "--- {}\n{text}", log.path().display());
        }
    }
}

impl Said {
    #[track_caller]
    pub(crate) fn succeeded(self, what: &str) -> String {
        assert!(self.code == Some(0), "{what} failed: {self}");
        self.stdout
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit code {:?}\n{}\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Said {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    Said {
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

fn shared_home() -> Arc<TempDir> {
    let mut shared = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let home = Arc::new(TempDir::new().expect("a home can be made"));
        *shared = Arc::downgrade(&home);
        home
    })
}

/// A directory with a `kubectl` in it, before what is on the PATH: scripts call it by this name.
pub(crate) fn path_with_kubectl(lab: &Lab) -> String {
    let programs = lab.file("bin");
    std::fs::create_dir_all(&programs).expect("a test's directory can be made");
    let path = std::env::var("PATH").unwrap_or_default();
    let kubectl =
        std::env::split_paths(&path).map(|place| place.join(format!("kubectl-{KUBECTL}")));
    let kubectl = kubectl
        .into_iter()
        .find(|kubectl| kubectl.exists())
        .expect("kubectl is there");
    std::os::unix::fs::symlink(kubectl, programs.join("kubectl")).expect("a link can be made");
    format!("{}:{path}", programs.display())
}
