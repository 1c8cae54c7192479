//! Holds the Docker engine to the engine contract, on a real daemon. Skipped, with the reason,
//! where none answers, unless `CI=true` says that one must be there.
//!
//! This executable is also the program in the containers (`helper …`), which is why it brings
//! its own `main`. Images come from the cluster's own registry, run by this very process.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test runner reports on standard output, and panics where something is wrong"
)]

#[expect(dead_code, reason = "the tests beyond the contract use more of it")]
#[path = "../docker/fixture.rs"]
mod fixture;
mod helper;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use bollard::query_parameters::RemoveImageOptions;
use lab_engine::{ContainerConfig, ContainerState, Engine, SandboxId};
use lab_image::ImageRef;
use lab_image::base::{base_image, runtime_image};
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::push::push;
use lab_registry::Registry;
use lab_testkit::engine_contract::{self, ALL, Ability, DoomedNode, Report};
use lab_testkit::helper::helper_main;

use fixture::{Fixture, on_docker, pod};

const SOON: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        // A node, and the holder of a shared sandbox.
        ["helper" | "node"] | ["helper", "pause"] => loop {
            std::thread::park();
        },
        ["helper", ..] => {
            let code = helper_main(&args[1..]);
            ExitCode::from(u8::try_from(code).unwrap_or(255))
        }
        _ => run_tests(&words),
    }
}

/// Understands as much of a test executable's command line as `cargo test` and people use:
/// `--list`, and words that a case's name must contain.
fn run_tests(words: &[&str]) -> ExitCode {
    if words.contains(&"--list") {
        for case in ALL {
            println!("{}: test", case.name);
        }
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word));
    let good = AtomicBool::new(true);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(on_docker(async |surroundings: &Fixture| {
        let site = Site::new().await;
        let make = async || Ok(UnderTest::new(surroundings, &site).await);
        let report = engine_contract::run(make, is_wanted).await;
        site.forget_image(surroundings).await;
        good.store(print(&report), Ordering::Relaxed);
    }));
    if good.into_inner() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(report: &Report) -> bool {
    let Report {
        passed,
        skipped,
        failed,
    } = report;
    for name in passed {
        println!("docker: {name} ... ok");
    }
    for (name, lacks) in skipped {
        println!("docker: {name} ... skipped, lacks {lacks:?}");
    }
    for (name, error) in failed {
        println!("docker: {name} ... FAILED: {error:#}");
    }
    println!(
        "docker: {} passed, {} skipped, {} failed",
        passed.len(),
        skipped.len(),
        failed.len()
    );
    failed.is_empty()
}

/// A registry that holds this executable.
struct Site {
    _dir: tempfile::TempDir,
    host: String,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let router: Router = registry.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let site = Self {
            _dir: dir,
            host: format!("localhost:{}", address.port()),
        };
        let layout = Layout::open(&site._dir.path().join("layout")).unwrap();
        base_image(&std::env::current_exe().unwrap(), &layout)
            .await
            .unwrap();
        let name = ImageRef::parse(&site.image()).unwrap();
        layout.tag(&runtime_image(), &name).unwrap();
        push(
            &layout,
            &name,
            &RegistryClient::new(&address.to_string()),
            &|_| {},
        )
        .await
        .unwrap();
        site
    }

    fn image(&self) -> String {
        format!("{}/helper:1", self.host)
    }

    async fn forget_image(&self, surroundings: &Fixture) {
        let options = RemoveImageOptions {
            force: true,
            ..RemoveImageOptions::default()
        };
        let _ = surroundings
            .docker
            .remove_image(&self.image(), Some(options), None)
            .await;
    }
}

/// What one case gets: no pods, and a node that never had the image.
struct UnderTest<'a> {
    surroundings: &'a Fixture,
    site: &'a Site,
    engine: Arc<dyn Engine>,
}

impl<'a> UnderTest<'a> {
    async fn new(surroundings: &'a Fixture, site: &'a Site) -> Self {
        surroundings.remove_pods().await;
        // The last case may have killed it.
        surroundings
            .docker
            .start_container(&surroundings.node, None)
            .await
            .unwrap();
        site.forget_image(surroundings).await;
        let engine = Arc::new(surroundings.engine_at(&site.host).await);
        Self {
            surroundings,
            site,
            engine,
        }
    }
}

#[async_trait(?Send)]
impl engine_contract::Fixture for UnderTest<'_> {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine)
    }

    fn lacks(&self) -> &'static [Ability] {
        &[]
    }

    fn container(&self, name: &str, words: &[&str]) -> ContainerConfig {
        let words = ["/devops-lab", "helper"].iter().chain(words);
        ContainerConfig {
            name: name.into(),
            image: self.site.image(),
            command: words.map(|word| (*word).to_owned()).collect(),
            ..ContainerConfig::default()
        }
    }

    fn absent_image(&self) -> String {
        format!("{}/absent:1", self.site.host)
    }

    async fn restart_agent(&mut self) -> anyhow::Result<()> {
        self.engine = Arc::new(self.surroundings.engine_at(&self.site.host).await);
        Ok(())
    }

    async fn doomed_node(&self) -> anyhow::Result<Box<dyn DoomedNode>> {
        let engine = Arc::clone(&self.engine);
        let config = self.container("main", &["sleep"]);
        engine.pull_image(&config.image).await?;
        let sandbox = engine.run_pod_sandbox(&pod("doomed")).await?.id;
        let container = engine.create_container(&sandbox, &config).await?;
        engine.start_container(&container).await?;
        let (docker, node) = (
            self.surroundings.docker.clone(),
            self.surroundings.node.clone(),
        );
        // The node of all cases: it is started again for the next.
        Ok(Box::new(Doomed {
            docker,
            node,
            engine,
            sandbox,
        }))
    }

    async fn leftovers(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.surroundings.left_behind().await)
    }
}

struct Doomed {
    docker: bollard::Docker,
    node: String,
    engine: Arc<dyn Engine>,
    sandbox: SandboxId,
}

#[async_trait(?Send)]
impl DoomedNode for Doomed {
    async fn pod_lives(&self) -> bool {
        let status = self.engine.sandbox_status(&self.sandbox).await.unwrap();
        let containers = status.map(|status| status.containers).unwrap_or_default();
        containers
            .iter()
            .any(|found| matches!(found.state, ContainerState::Running { .. }))
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.docker.kill_container(&self.node, None).await?)
    }
}
