//! One throw-away cluster network with one node, and its engine.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, ListContainersOptions, ListVolumesOptions,
    RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions,
};
use futures::{FutureExt, StreamExt, TryStreamExt};
use lab_context::Context;
use lab_engine::docker::{DockerConfig, DockerEngine, labels};
use lab_engine::{
    ContainerConfig, ContainerId, ContainerState, Engine, LogOptions, SandboxConfig, SandboxId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use crate::SOON;
use crate::helper::{ARGUMENTS, PROGRAM};

const SOCKET: &str = "/var/run/docker.sock";
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) struct Fixture {
    pub(crate) docker: Docker,
    pub(crate) engine: DockerEngine,
    /// Name of the node's container; the network and the cluster have names of their own.
    pub(crate) node: String,
    /// A port of this machine where nobody listens.
    pub(crate) closed_port: u16,
    config: DockerConfig,
}

/// The image of the test program; unique to this run, so that two runs do not meet.
pub(crate) fn image() -> String {
    format!("devops-lab-test/engine:{}", std::process::id())
}

pub(crate) fn pod(name: &str) -> SandboxConfig {
    SandboxConfig {
        namespace: "default".into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        hostname: name.into(),
        ..SandboxConfig::default()
    }
}

/// Runs the test on a fixture and removes everything afterwards, also when it failed.
pub(crate) async fn on_docker(test: impl AsyncFnOnce(&Fixture)) {
    let Some(docker) = daemon().await else { return };
    let fixture = Fixture::new(docker).await;
    let result = AssertUnwindSafe(test(&fixture)).catch_unwind().await;
    fixture.remove().await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

async fn daemon() -> Option<Docker> {
    let connected = Docker::connect_with_unix(SOCKET, 120, bollard::API_DEFAULT_VERSION);
    let reason = match connected {
        Ok(docker) => match docker.ping().await {
            Ok(_) => return Some(docker),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "no Docker daemon: {reason}"
    );
    println!("skipped: no Docker daemon answers at {SOCKET}: {reason}");
    None
}

impl Fixture {
    async fn new(docker: Docker) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        hold_image(&docker).await;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let cluster = format!("engine-test-{}-{number}", std::process::id());
        let prefix = create_network(&docker, &cluster).await;
        let node = format!("{cluster}-node-1");
        let body = ContainerCreateBody {
            image: Some(image()),
            labels: Some(own_labels(&cluster)),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions {
            name: Some(node.clone()),
            ..CreateContainerOptions::default()
        };
        docker.create_container(Some(options), body).await.unwrap();
        docker.start_container(&node, None).await.unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed_port = closed.local_addr().unwrap().port();
        let config = DockerConfig {
            socket: SOCKET.into(),
            cluster: cluster.clone(),
            node: "node-1".into(),
            node_container: node.clone(),
            network: cluster.clone(),
            pod_network: format!("{prefix}.0/25").parse().unwrap(),
            system_image: image(),
            registry_host: format!("localhost:{closed_port}"),
            registry_address: None,
            context: Context::system(1.0),
        };
        let engine = DockerEngine::connect(config.clone()).await.unwrap();
        Self {
            docker,
            engine,
            node,
            closed_port,
            config,
        }
    }

    /// An engine of the same node for which the cluster's registry is at `registry`.
    pub(crate) async fn engine_at(&self, registry: &str) -> DockerEngine {
        let registry_host = registry.to_owned();
        let config = DockerConfig {
            registry_host,
            ..self.config.clone()
        };
        DockerEngine::connect(config).await.unwrap()
    }

    pub(crate) async fn another_engine(&self) -> DockerEngine {
        self.engine_at(&self.config.registry_host).await
    }

    pub(crate) async fn run_to_end(
        &self,
        sandbox: &SandboxId,
        config: &ContainerConfig,
    ) -> (ContainerId, ContainerState) {
        let id = self.engine.create_container(sandbox, config).await.unwrap();
        self.engine.start_container(&id).await.unwrap();
        let state = self.wait_for_exit(sandbox, &id).await;
        (id, state)
    }

    pub(crate) async fn wait_for_exit(
        &self,
        sandbox: &SandboxId,
        id: &ContainerId,
    ) -> ContainerState {
        self.until("the container to end", async || {
            let status = self.engine.sandbox_status(sandbox).await.unwrap()?;
            let container = status
                .containers
                .into_iter()
                .find(|container| container.id == *id)?;
            matches!(container.state, ContainerState::Exited { .. }).then_some(container.state)
        })
        .await
    }

    pub(crate) async fn log(&self, id: &ContainerId, options: LogOptions) -> String {
        let chunks: Vec<_> = self
            .engine
            .logs(id, &options)
            .await
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    pub(crate) async fn wait_for_log(&self, id: &ContainerId, text: &str) {
        let options = LogOptions {
            follow: true,
            ..LogOptions::default()
        };
        let mut lines = self.engine.logs(id, &options).await.unwrap();
        let seen = async {
            while let Some(line) = lines.next().await {
                if String::from_utf8_lossy(&line.unwrap()).contains(text) {
                    return;
                }
            }
            panic!("the log ended without {text:?}");
        };
        tokio::time::timeout(SOON, seen)
            .await
            .expect("a line in time");
    }

    pub(crate) async fn answers(&self, ip: IpAddr, port: u16) {
        self.until("an answer", async || ask(SocketAddr::new(ip, port)).await)
            .await;
    }

    /// Names of the containers and volumes that pods of this cluster have left.
    pub(crate) async fn left_behind(&self) -> Vec<String> {
        let mut left = self.containers().await;
        left.retain(|name| *name != self.node);
        left.extend(self.volumes().await);
        left
    }

    async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + SOON;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain for {what}"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn containers(&self) -> Vec<String> {
        let options = ListContainersOptions {
            all: true,
            filters: self.filter(),
            ..ListContainersOptions::default()
        };
        let listed = self.docker.list_containers(Some(options)).await.unwrap();
        let names = listed
            .into_iter()
            .filter_map(|container| container.names?.pop());
        names
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect()
    }

    async fn volumes(&self) -> Vec<String> {
        let options = ListVolumesOptions {
            filters: self.filter(),
        };
        let listed = self.docker.list_volumes(Some(options)).await.unwrap();
        listed
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(|volume| volume.name)
            .collect()
    }

    fn filter(&self) -> Option<HashMap<String, Vec<String>>> {
        let own = format!("{}={}", labels::CLUSTER, self.config.cluster);
        Some(HashMap::from([("label".to_owned(), vec![own])]))
    }

    /// Removes what pods have left.
    pub(crate) async fn remove_pods(&self) {
        for name in self.containers().await {
            if name != self.node {
                self.remove_container(&name).await;
            }
        }
        for name in self.volumes().await {
            let _ = self
                .docker
                .remove_volume(&name, None::<RemoveVolumeOptions>)
                .await;
        }
    }

    async fn remove_container(&self, name: &str) {
        let options = RemoveContainerOptions {
            force: true,
            v: true,
            ..RemoveContainerOptions::default()
        };
        let _ = self.docker.remove_container(name, Some(options)).await;
    }

    async fn remove(&self) {
        self.remove_pods().await;
        self.remove_container(&self.node).await;
        let _ = self.docker.remove_network(&self.config.network).await;
        release_image(&self.docker).await;
    }
}

async fn ask(address: SocketAddr) -> Option<()> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.ends_with("hello\n").then_some(())
    };
    tokio::time::timeout(Duration::from_secs(1), asked)
        .await
        .ok()?
}

fn own_labels(cluster: &str) -> HashMap<String, String> {
    HashMap::from([(labels::CLUSTER.to_owned(), cluster.to_owned())])
}

/// Takes the first block that overlaps with no other network of the daemon.
async fn create_network(docker: &Docker, name: &str) -> String {
    for third in 0..250 {
        let prefix = format!("10.237.{third}");
        let block = IpamConfig {
            subnet: Some(format!("{prefix}.0/24")),
            ..IpamConfig::default()
        };
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            labels: Some(own_labels(name)),
            ipam: Some(Ipam {
                config: Some(vec![block]),
                ..Ipam::default()
            }),
            ..NetworkCreateRequest::default()
        };
        if docker.create_network(request).await.is_ok() {
            return prefix;
        }
    }
    panic!("no free block of addresses below 10.237.0.0/16");
}

/// How many tests need the image now: the last one removes it.
static IMAGE_USERS: Mutex<u32> = Mutex::const_new(0);

async fn hold_image(docker: &Docker) {
    let mut users = IMAGE_USERS.lock().await;
    if *users == 0 {
        import(docker).await;
    }
    *users += 1;
}

async fn release_image(docker: &Docker) {
    let mut users = IMAGE_USERS.lock().await;
    *users -= 1;
    if *users == 0 {
        let _ = docker
            .remove_image(&image(), None::<RemoveImageOptions>, None)
            .await;
    }
}

async fn import(docker: &Docker) {
    let mut archive = tar::Builder::new(Vec::new());
    // The daemon does not know GNU's entries for files with holes, which linkers make.
    archive.sparse(false);
    let path = std::env::current_exe().unwrap();
    archive
        .append_path_with_name(path, PROGRAM.trim_start_matches('/'))
        .unwrap();
    let entrypoint: Vec<&str> = std::iter::once(PROGRAM)
        .chain(ARGUMENTS.iter().copied())
        .collect();
    let image = image();
    let (repo, tag) = image.rsplit_once(':').unwrap();
    let options = CreateImageOptions {
        from_src: Some("-".into()),
        repo: Some(repo.into()),
        tag: Some(tag.into()),
        changes: vec![
            format!("ENTRYPOINT {}", serde_json::to_string(&entrypoint).unwrap()),
            // A pod that is told nothing waits, as does the holder of a shared sandbox.
            "ENV HELPER_DO=sleep".into(),
        ],
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(archive.into_inner().unwrap().into());
    docker
        .create_image(Some(options), Some(body), None)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
}
