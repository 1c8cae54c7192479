//! The process engine with the cluster's own registry and image store, instead of a directory
//! that stands for them.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use futures::TryStreamExt;
use lab_context::Context;
use lab_engine::process::{ProcessConfig, ProcessEngine};
use lab_engine::{ContainerConfig, Engine, EngineError, LogOptions, SandboxConfig};
use lab_image::ImageRef;
use lab_image::base::{base_image, runtime_image};
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::push::push;
use lab_registry::Registry;

use crate::process::fresh_network;

struct Site {
    dir: tempfile::TempDir,
    addr: SocketAddr,
}

impl Site {
    /// A registry that holds this executable as `hello:1`.
    async fn new() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let registry = Registry::open(&dir.path().join("registry"))?;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let site = Self {
            dir,
            addr: listener.local_addr()?,
        };
        tokio::spawn(async move { axum::serve(listener, registry.router()).await });
        let layout = Layout::open(&site.dir.path().join("layout"))?;
        base_image(&std::env::current_exe()?, &layout).await?;
        let name = ImageRef::parse(&site.image("hello:1"))?;
        layout.tag(&runtime_image(), &name)?;
        push(
            &layout,
            &name,
            &RegistryClient::new(&site.addr.to_string()),
            &|_| {},
        )
        .await?;
        Ok(site)
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.addr.port())
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host())
    }

    async fn engine(&self, node: &str) -> anyhow::Result<ProcessEngine> {
        let config = ProcessConfig {
            state_dir: self.dir.path().join(node),
            images_dir: self.dir.path().join("images"),
            registry_hosts: vec![self.host()],
            registry_addr: self.addr,
            shim: std::env::current_exe()?,
            pod_network: fresh_network(),
            context: Context::system(1.0),
        };
        Ok(ProcessEngine::new(config).await?)
    }
}

pub(crate) async fn a_pushed_image_runs() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let engine = site.engine("node-1").await?;
    let pulled = engine.pull_image(&site.image("hello:1")).await?;
    let digest = pulled.repo_digest.context("it has no repository digest")?;
    ensure!(
        digest.starts_with(&site.image("hello@sha256:")),
        "its repository digest is {digest}"
    );
    let pod = SandboxConfig {
        name: "hello".into(),
        uid: "hello".into(),
        ..SandboxConfig::default()
    };
    let sandbox = engine.run_pod_sandbox(&pod).await?;
    let config = ContainerConfig {
        name: "main".into(),
        image: site.image("hello:1"),
        command: ["/devops-lab", "helper", "env", "PORT"]
            .map(String::from)
            .to_vec(),
        run_as_non_root: true,
        ..ContainerConfig::default()
    };
    let container = engine.create_container(&sandbox.id, &config).await?;
    engine.start_container(&container).await?;
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let printed: Vec<_> = engine
        .logs(&container, &follow)
        .await?
        .try_collect()
        .await?;
    ensure!(printed.concat() == b"PORT=8080\n", "it printed {printed:?}");
    engine.remove_pod_sandbox(&sandbox.id).await?;
    Ok(())
}

pub(crate) async fn a_wrong_tag_names_the_right_ones() -> anyhow::Result<()> {
    let site = Site::new().await?;
    let engine = site.engine("node-1").await?;
    for (image, known) in [
        ("hello:2", "hello has the tags 1"),
        ("helo:1", "it has hello"),
    ] {
        match engine.pull_image(&site.image(image)).await {
            Err(EngineError::ImageNotFound { message }) => {
                ensure!(message.contains(known), "{message}");
                ensure!(message.contains("devops-lab image push"), "{message}");
            }
            other => anyhow::bail!("expected ImageNotFound, got {other:?}"),
        }
    }
    Ok(())
}
