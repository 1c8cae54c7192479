//! The process engine under test, with this executable as image and shim.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, TryStreamExt};
use lab_context::Context;
use lab_engine::process::{ImageConfig, ImageSource, LocalImage, ProcessConfig, ProcessEngine};
use lab_engine::{
    ContainerConfig, ContainerId, Engine, EngineError, LogOptions, PodNetwork, SandboxConfig,
    SandboxId,
};
use lab_testkit::engine_contract::{Ability, DoomedNode, Fixture, Report};

use crate::registry;

/// The one image there is: `/bin/helper` is this executable.
const IMAGE: &str = "localhost:5001/helper:1";

pub(crate) struct Process {
    dir: tempfile::TempDir,
    network: PodNetwork,
    engine: ProcessEngine,
}

/// Knows [`IMAGE`] only, unpacked in a directory.
struct HelperImage {
    rootfs: PathBuf,
}

#[async_trait]
impl ImageSource for HelperImage {
    async fn pull(&self, image: &str) -> Result<LocalImage, EngineError> {
        if image != IMAGE {
            return Err(EngineError::ImageNotFound {
                message: format!("there is no image {image:?}"),
            });
        }
        let config = ImageConfig {
            entrypoint: vec!["helper".into(), "helper".into()],
            env: vec![("PATH".into(), "/bin".into())],
            working_dir: "/work".into(),
            ..ImageConfig::default()
        };
        let id = format!("sha256:{}", "0".repeat(64));
        Ok(LocalImage {
            id,
            repo_digest: None,
            size_bytes: 1,
            rootfs: self.rootfs.clone(),
            config,
        })
    }
}

fn unpack_helper(dir: &Path) -> anyhow::Result<HelperImage> {
    let rootfs = dir.join("image");
    fs::create_dir_all(rootfs.join("bin"))?;
    let (this, helper) = (std::env::current_exe()?, rootfs.join("bin/helper"));
    if fs::hard_link(&this, &helper).is_err() && !helper.exists() {
        fs::copy(this, helper)?;
    }
    Ok(HelperImage { rootfs })
}

/// A block of loopback addresses that no other test of this machine is likely to use.
pub(crate) fn fresh_network() -> PodNetwork {
    static LAST: AtomicU32 = AtomicU32::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let block = u8::try_from(20 + std::process::id() % 200).expect("below 220");
    let node = u8::try_from(number % 250).expect("below 250");
    PodNetwork::new(Ipv4Addr::new(127, block, node, 0), 24).expect("a /24")
}

async fn open(dir: &Path, network: PodNetwork) -> anyhow::Result<ProcessEngine> {
    let config = ProcessConfig {
        state_dir: dir.join("node"),
        images_dir: dir.join("images"),
        registry_hosts: vec!["localhost:5001".into()],
        registry_addr: SocketAddr::from(([127, 0, 0, 1], 5001)),
        shim: std::env::current_exe()?,
        pod_network: network,
        context: Context::system(1.0),
    };
    Ok(ProcessEngine::with_images(config, Arc::new(unpack_helper(dir)?)).await?)
}

impl Process {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        // Beside the executable, so that the image is a hard link of it and not a copy.
        let target = std::env::current_exe()?
            .parent()
            .context("the executable lies in a directory")?
            .to_owned();
        let dir = tempfile::Builder::new()
            .prefix("contract-")
            .tempdir_in(target)?;
        let network = fresh_network();
        let engine = open(dir.path(), network).await?;
        Ok(Self {
            dir,
            network,
            engine,
        })
    }

    fn node_dir(&self) -> PathBuf {
        self.dir.path().join("node")
    }
}

fn helper(name: &str, words: &[&str]) -> ContainerConfig {
    let words = ["/bin/helper", "helper"].iter().chain(words);
    ContainerConfig {
        name: name.into(),
        image: IMAGE.into(),
        command: words.map(|word| (*word).to_owned()).collect(),
        ..ContainerConfig::default()
    }
}

#[async_trait(?Send)]
impl Fixture for Process {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.engine.clone())
    }

    fn lacks(&self) -> &'static [Ability] {
        &[]
    }

    fn container(&self, name: &str, words: &[&str]) -> ContainerConfig {
        helper(name, words)
    }

    fn absent_image(&self) -> String {
        "localhost:5001/absent:1".into()
    }

    async fn restart_agent(&mut self) -> anyhow::Result<()> {
        // The directory is free again once the old engine has gone, so it goes first.
        let elsewhere = self.dir.path().join("nowhere");
        self.engine = open(&elsewhere, self.network).await?;
        self.engine = open(self.dir.path(), self.network).await?;
        Ok(())
    }

    async fn doomed_node(&self) -> anyhow::Result<Box<dyn DoomedNode>> {
        Ok(Box::new(Doomed::start(
            &self.dir.path().join("doomed"),
            &["sleep"],
        )?))
    }

    async fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        let mut found = processes_of(self.dir.path());
        for part in ["sandboxes", "logs"] {
            for entry in fs::read_dir(self.node_dir().join(part))
                .into_iter()
                .flatten()
            {
                found.push(entry?.path().display().to_string());
            }
        }
        Ok(found)
    }
}

/// Every process whose container lies in this directory.
fn processes_of(dir: &Path) -> Vec<String> {
    let rootfs = format!("DEVOPS_LAB_ROOTFS={}", dir.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|setting| setting.starts_with(rootfs.as_bytes()))
        })
        .map(|entry| format!("process {}", entry.file_name().to_string_lossy()))
        .collect()
}

/// Another process with a node and one pod, as `contract node` starts it.
struct Doomed {
    dir: PathBuf,
    node: Child,
}

impl Doomed {
    fn start(dir: &Path, words: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("node")
            .arg(dir)
            .arg(fresh_network().to_string());
        let mut node = command
            .env("WORDS", words.join(" "))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(node.stdout.take().context("a pipe")?).lines();
        ensure!(
            lines.next().context("the node says nothing")?? == "ready",
            "the node does not run its pod"
        );
        Ok(Self {
            dir: dir.to_owned(),
            node,
        })
    }

    fn processes(&self) -> Vec<String> {
        processes_of(&self.dir)
    }
}

#[async_trait(?Send)]
impl DoomedNode for Doomed {
    async fn pod_lives(&self) -> bool {
        !self.processes().is_empty()
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.node.kill()?;
        self.node.wait()?;
        Ok(())
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        // Killed already where the case went well.
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// Runs one pod until it is killed.
#[expect(
    clippy::print_stdout,
    reason = "the test that started this process waits for its word"
)]
pub(crate) fn be_a_node(dir: &Path, network: &str) -> ExitCode {
    let words = std::env::var("WORDS").unwrap_or_default();
    let life = async {
        let engine = open(dir, network.parse()?).await?;
        let config = SandboxConfig {
            name: "doomed".into(),
            uid: "doomed".into(),
            ..SandboxConfig::default()
        };
        let sandbox = engine.run_pod_sandbox(&config).await?.id;
        let container = helper("main", &words.split(' ').collect::<Vec<_>>());
        let container = start(&engine, &sandbox, &container).await?;
        all_ready(&engine, &container, if words == "child" { 2 } else { 1 }).await?;
        println!("ready");
        std::future::pending::<anyhow::Result<()>>().await
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(life) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn start(
    engine: &ProcessEngine,
    sandbox: &SandboxId,
    config: &ContainerConfig,
) -> anyhow::Result<ContainerId> {
    engine.pull_image(&config.image).await?;
    let container = engine.create_container(sandbox, config).await?;
    engine.start_container(&container).await?;
    Ok(container)
}

async fn first_line(engine: &ProcessEngine, container: &ContainerId) -> anyhow::Result<String> {
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let text = engine
        .logs(container, &follow)
        .await?
        .try_next()
        .await?
        .context("the container prints nothing")?;
    Ok(String::from_utf8(text.to_vec())?
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Waits until as many processes of the container have printed that they are ready.
async fn all_ready(
    engine: &ProcessEngine,
    container: &ContainerId,
    count: usize,
) -> anyhow::Result<()> {
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut log = engine.logs(container, &follow).await?;
    let mut text = Vec::new();
    while String::from_utf8_lossy(&text)
        .lines()
        .filter(|line| *line == "ready")
        .count()
        < count
    {
        text.extend_from_slice(&log.try_next().await?.context("the container ended")?);
    }
    Ok(())
}

type BeyondCase = (
    &'static str,
    fn() -> LocalBoxFuture<'static, anyhow::Result<()>>,
);

/// Promises that only this engine makes.
const BEYOND: &[BeyondCase] = &[
    ("an image pushed to the cluster's registry runs", || {
        registry::a_pushed_image_runs().boxed_local()
    }),
    ("a wrong image name leads to the right ones", || {
        registry::a_wrong_tag_names_the_right_ones().boxed_local()
    }),
    ("children of a container end with it", || {
        children_end_with_it().boxed_local()
    }),
    (
        "children that outlive their node are killed by its next life",
        || orphans_are_killed().boxed_local(),
    ),
    ("two node processes cannot share a directory", || {
        one_node_per_directory().boxed_local()
    }),
    (
        "nothing of the node's environment reaches a container",
        || clean_environment().boxed_local(),
    ),
    ("a hundred containers later nothing has leaked", || {
        no_leaks().boxed_local()
    }),
];

pub(crate) async fn beyond_the_contract(wanted: impl Fn(&str) -> bool) -> Report {
    let mut report = Report::default();
    for (name, run) in BEYOND.iter().filter(|(name, _)| wanted(name)) {
        match run().await {
            Ok(()) => report.passed.push(name),
            Err(error) => report.failed.push((name, error)),
        }
    }
    report
}

async fn pod(fixture: &Process, uid: &str) -> anyhow::Result<SandboxId> {
    let config = SandboxConfig {
        name: uid.into(),
        uid: uid.into(),
        hostname: uid.into(),
        ..SandboxConfig::default()
    };
    Ok(fixture.engine.run_pod_sandbox(&config).await?.id)
}

async fn children_end_with_it() -> anyhow::Result<()> {
    let fixture = Process::new().await?;
    let sandbox = pod(&fixture, "family").await?;
    let container = start(&fixture.engine, &sandbox, &helper("main", &["child"])).await?;
    all_ready(&fixture.engine, &container, 2).await?;
    ensure!(
        processes_of(fixture.dir.path()).len() == 2,
        "there is no child"
    );
    fixture
        .engine
        .stop_container(&container, Duration::from_secs(20))
        .await?;
    let left = processes_of(fixture.dir.path());
    ensure!(left.is_empty(), "still there: {left:?}");
    Ok(())
}

async fn orphans_are_killed() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut node = Doomed::start(dir.path(), &["child"])?;
    node.kill().await?;
    let engine = open(dir.path(), fresh_network()).await?;
    let left = node.processes();
    ensure!(left.is_empty(), "still there: {left:?}");
    let sandboxes = engine.list_sandboxes().await?;
    ensure!(
        sandboxes.len() == 1 && !sandboxes[0].alive,
        "the pod is not listed as dead: {sandboxes:?}"
    );
    Ok(())
}

async fn one_node_per_directory() -> anyhow::Result<()> {
    let fixture = Process::new().await?;
    let second = open(fixture.dir.path(), fixture.network).await;
    let error = second.err().context("a second node took the directory")?;
    ensure!(
        format!("{error:#}").contains("another node process is using it"),
        "the error is {error:#}"
    );
    Ok(())
}

async fn clean_environment() -> anyhow::Result<()> {
    let fixture = Process::new().await?;
    let sandbox = pod(&fixture, "clean").await?;
    let container = start(
        &fixture.engine,
        &sandbox,
        &helper("main", &["env", "CARGO_MANIFEST_DIR", "USER"]),
    )
    .await?;
    ensure!(
        std::env::var_os("CARGO_MANIFEST_DIR").is_some(),
        "this test must be run by cargo"
    );
    ensure!(
        first_line(&fixture.engine, &container).await? == "CARGO_MANIFEST_DIR=",
        "it got through"
    );
    Ok(())
}

async fn no_leaks() -> anyhow::Result<()> {
    let fixture = Process::new().await?;
    let round = async |number: u32| {
        let sandbox = pod(&fixture, &format!("round-{number}")).await?;
        let container = start(&fixture.engine, &sandbox, &helper("main", &["exit", "0"])).await?;
        let command = helper("", &["print", "x"]).command;
        // It may have ended already, which is also an answer.
        let _ = fixture
            .engine
            .exec(&container, &command, Duration::from_secs(20))
            .await;
        fixture.engine.remove_pod_sandbox(&sandbox).await?;
        anyhow::Ok(())
    };
    round(0).await?;
    let before = (open_files()?, children()?);
    for number in 1..=100 {
        round(number).await?;
    }
    let after = (open_files()?, children()?);
    ensure!(
        before == after,
        "open files and children were {before:?} and are {after:?}"
    );
    let left = fixture.leftovers().await?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

fn open_files() -> anyhow::Result<usize> {
    Ok(fs::read_dir("/proc/self/fd")?.count())
}

fn children() -> anyhow::Result<usize> {
    let mut count = 0;
    for task in fs::read_dir("/proc/self/task")? {
        count += fs::read_to_string(task?.path().join("children"))?
            .split_whitespace()
            .count();
    }
    Ok(count)
}
