//! A cluster under measurement: the release program with a home of its own.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::time::Instant;

/// The program, a private home, and a cluster's name.
pub(crate) struct Lab {
    program: PathBuf,
    home: tempfile::TempDir,
    name: String,
}

impl Lab {
    /// For one benchmark.
    pub(crate) fn new(program: &Path, name: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir().context("failed to make a home for the clusters")?;
        Ok(Self {
            program: program.to_owned(),
            home,
            name: format!("bench-{name}"),
        })
    }

    /// The cluster's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The executable.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Where the benchmark may write.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("DEVOPS_LAB_HOME", self.home.path())
            .env("DEVOPS_LAB_CLUSTER", &self.name)
            // Labs hand out files where one is.
            .current_dir(self.home.path());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command of the program; answers what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self
            .command(arguments)
            .output()
            .context("failed to run the program")?;
        if !output.status.success() {
            bail!(
                "devops-lab {} failed:\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the cluster; answers the time in milliseconds.
    pub(crate) fn start(&self, nodes: usize, engine: &str) -> anyhow::Result<f64> {
        self.start_with(nodes, engine, &[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(
        &self,
        nodes: usize,
        engine: &str,
        more: &[&str],
    ) -> anyhow::Result<f64> {
        let began = Instant::now();
        let nodes = nodes.to_string();
        let own = ["start", &nodes, "--engine", engine, "--no-kubeconfig"];
        self.run(&[&own, more].concat())?;
        Ok(began.elapsed().as_secs_f64() * 1000.0)
    }

    /// What `status -o json` says.
    pub(crate) fn status(&self) -> anyhow::Result<Value> {
        let output = self.command(&["status", "-o", "json"]).output()?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Path of a kubeconfig for the cluster.
    pub(crate) fn kubeconfig(&self) -> anyhow::Result<PathBuf> {
        self.run(&["env"])?;
        Ok(self
            .home
            .path()
            .join("clusters")
            .join(&self.name)
            .join("kubeconfig"))
    }

    /// The newest kubectl there is, for this cluster.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let kubectl = ["kubectl-1.36", "kubectl"]
            .into_iter()
            .find(|name| is_installed(name));
        let kubectl = kubectl.context("kubectl is not installed")?;
        let mut command = Command::new(kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig()?)
            .env("HOME", self.home.path());
        Ok(command)
    }

    /// Runs the newest kubectl there is; answers what it printed.
    pub(crate) fn kubectl(
        &self,
        arguments: &[&str],
        input: Option<&str>,
    ) -> anyhow::Result<String> {
        let mut child = self
            .kubectl_command(arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.unwrap_or_default().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!(
                "kubectl {} failed:\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Builds and pushes the sample application; answers its manifests with the image in them.
    pub(crate) fn push_hello(&self) -> anyhow::Result<String> {
        let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/apps/hello");
        let status = self.status()?;
        let registry = status["addresses"]["registry"]
            .as_str()
            .context("the status names no registry")?;
        let image = format!("{registry}/hello:1.0.0");
        let directory = app.to_str().context("the repository's path is not text")?;
        self.run(&["image", "build", "-t", &image, "--push", directory])?;
        let mut manifests = String::new();
        for file in ["deployment.yaml", "service.yaml", "route.yaml"] {
            let path = app.join("k8s").join(file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            manifests.push_str(&text.replace("localhost:5001/hello:1.0.0", &image));
            manifests.push_str("\n---\n");
        }
        Ok(manifests)
    }

    /// `host:port` of the production listener.
    pub(crate) fn production(&self) -> anyhow::Result<String> {
        let status = self.status()?;
        let url = status["addresses"]["production"]
            .as_str()
            .context("the status names no production listener")?;
        Ok(url.trim_start_matches("http://").to_owned())
    }

    /// Removes the cluster.
    pub(crate) fn delete(&self) -> anyhow::Result<()> {
        self.run(&["delete"]).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self
            .command(&["delete"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Status and text of `GET /` at `host:port`.
pub(crate) fn get(address: &str) -> anyhow::Result<(u16, String)> {
    get_path(address, "/")
}

/// Status and text of `GET path` at `host:port`.
pub(crate) fn get_path(address: &str, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .context("no HTTP answer")?;
    Ok((status, text))
}

/// True where a program is on PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}
