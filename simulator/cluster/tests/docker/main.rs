//! The cluster's own containers on a real daemon. Skipped, with the reason, where none answers,
//! unless `CI=true` says that one must be there.
//!
//! The containers run this very test program: as the cluster's program does, it is called with
//! `component ROLE`, which the test harness takes for the name of [`acting::component`] (no
//! other test may have a role in its name).

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test panics where something is wrong, and says why it was skipped"
)]

mod acting;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, ListImagesOptions, RemoveImageOptions, StopContainerOptions,
};
use futures::{FutureExt, TryStreamExt};
use lab_cluster::docker::{
    BringUpError, ClusterNetwork, Daemon, DockerPlan, LogRequest, NodePlan, Ports, Role, bring_up,
    claim_network, import_images, kill, list, list_clusters, logs, remove_all, remove_node,
    start_existing, start_part, stop,
};
use tokio::time::Instant;

/// Names that no cluster uses.
const SYSTEM: &str = "devops-lab-test/system";
const RUNTIME: &str = "devops-lab-test/runtime:1";

const SOON: Duration = Duration::from_secs(30);

/// Runs the test with a plan of three nodes and removes everything afterwards, also when it
/// failed.
async fn on_docker(test: impl AsyncFnOnce(&Daemon, DockerPlan)) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let daemon = match Daemon::connect().await {
        Ok(daemon) => daemon,
        Err(reason) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{reason}");
            println!("skipped: {reason}");
            return;
        }
    };
    let image = hold_images(&daemon).await;
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let cluster = format!("cluster-test-{}-{number}", std::process::id());
    let body = async {
        let plan = plan(&daemon, &cluster, image).await;
        test(&daemon, plan).await;
    };
    let result = AssertUnwindSafe(body).catch_unwind().await;
    let removed = remove_all(&daemon.docker, &cluster).await;
    release_images(&daemon.docker).await;
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
    removed.expect("everything removed");
    let left = list_clusters(&daemon.docker).await.unwrap();
    assert!(
        left.iter().all(|summary| summary.name != cluster),
        "{left:?}"
    );
}

/// How many tests need the images now: the last one removes them.
static IMAGE_USERS: tokio::sync::Mutex<u32> = tokio::sync::Mutex::const_new(0);

/// One test at a time: two imports at once would leave one of both images without a name.
async fn hold_images(daemon: &Daemon) -> String {
    let mut users = IMAGE_USERS.lock().await;
    let program = std::env::current_exe().unwrap();
    let image = import_images(&daemon.docker, &program, SYSTEM, RUNTIME)
        .await
        .unwrap();
    *users += 1;
    image.reference
}

async fn release_images(docker: &Docker) {
    let mut users = IMAGE_USERS.lock().await;
    *users -= 1;
    if *users > 0 {
        return;
    }
    let filters = [("reference".to_owned(), vec![SYSTEM.to_owned()])].into();
    let options = ListImagesOptions {
        filters: Some(filters),
        ..ListImagesOptions::default()
    };
    let system = docker.list_images(Some(options)).await.unwrap_or_default();
    let names = system.into_iter().flat_map(|image| image.repo_tags);
    for name in names.chain([RUNTIME.to_owned()]) {
        let _ = docker
            .remove_image(&name, None::<RemoveImageOptions>, None)
            .await;
    }
}

async fn plan(daemon: &Daemon, cluster: &str, image: String) -> DockerPlan {
    let network = claim_network(&daemon.docker, cluster).await.unwrap();
    let (first, length) = network.services();
    DockerPlan {
        cluster: cluster.to_owned(),
        network,
        image,
        socket: daemon.socket.clone(),
        ports: free_ports(),
        control_plane: "print:hello from the control plane;wait".into(),
        registry: "wait".into(),
        gateway: format!("route:{first}/{length};listen:80"),
        nodes: (1..=3).map(node).collect(),
    }
}

fn node(index: u8) -> NodePlan {
    NodePlan {
        name: format!("node-{index}"),
        index,
        config: "wait".into(),
    }
}

/// Ports that were free a moment ago; held until all are known, so that they differ.
fn free_ports() -> Ports {
    let listeners: Vec<_> = (0..6)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let port = |at: usize| listeners[at].local_addr().unwrap().port();
    Ports {
        api: port(0),
        gateway: port(1),
        gateway_test: port(2),
        gateway_https: port(4),
        registry: port(3),
        metrics: Some(port(5)),
    }
}

async fn ask(address: SocketAddr) -> Option<String> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    asked.await.unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn running(daemon: &Daemon, cluster: &str) -> Vec<String> {
    let parts = list(&daemon.docker, cluster).await.unwrap();
    parts
        .into_iter()
        .filter(|part| part.running)
        .map(|part| part.component)
        .collect()
}

const ALL: [&str; 6] = [
    "control-plane",
    "registry",
    "gateway",
    "node-1",
    "node-2",
    "node-3",
];

#[tokio::test]
async fn six_parts_come_up_stop_and_come_back() {
    on_docker(async |daemon, plan| {
        let (docker, cluster) = (&daemon.docker, plan.cluster.as_str());
        let begun = Instant::now();
        let heard = Mutex::new(Vec::new());
        bring_up(docker, &plan, &|progress| {
            heard.lock().unwrap().push(progress)
        })
        .await
        .unwrap();
        println!("six containers up after {:?}", begun.elapsed());
        assert_eq!(heard.lock().unwrap().len(), 6);

        let parts = list(docker, cluster).await.unwrap();
        let found: Vec<_> = parts
            .iter()
            .map(|part| (part.component.as_str(), part.running))
            .collect();
        assert_eq!(found, ALL.map(|name| (name, true)));
        assert_eq!(parts[0].role, Role::ControlPlane);
        assert_eq!(parts[3].address, plan.network.node(1).map(Into::into));

        let log: Vec<_> = logs(docker, cluster, "control-plane", LogRequest::default())
            .try_collect()
            .await
            .unwrap();
        assert!(String::from_utf8_lossy(&log.concat()).contains("hello from the control plane"));

        let begun = Instant::now();
        stop(docker, cluster).await.unwrap();
        println!("stopped after {:?}", begun.elapsed());
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "a part did not obey TERM"
        );
        assert_eq!(running(daemon, cluster).await, Vec::<String>::new());
        stop(docker, cluster).await.unwrap();

        let begun = Instant::now();
        start_existing(docker, cluster).await.unwrap();
        println!("started again after {:?}", begun.elapsed());
        start_existing(docker, cluster).await.unwrap();
        assert_eq!(running(daemon, cluster).await, ALL);
        let again = list(docker, cluster).await.unwrap();
        assert_eq!(again[5].address, plan.network.node(3).map(Into::into));

        let summary = list_clusters(docker)
            .await
            .unwrap()
            .into_iter()
            .find(|s| s.name == cluster);
        assert_eq!(summary.map(|s| (s.running, s.parts)), Some((6, 6)));
        let begun = Instant::now();
        let removed = remove_all(docker, cluster).await.unwrap();
        println!("removed after {:?}", begun.elapsed());
        assert_eq!(
            (removed.containers, removed.networks, removed.volumes),
            (6, 1, 2)
        );
        assert_eq!(
            remove_all(docker, cluster).await.unwrap(),
            Default::default()
        );
    })
    .await;
}

#[tokio::test]
async fn members_are_added_killed_and_removed() {
    on_docker(async |daemon, plan| {
        let (docker, cluster) = (&daemon.docker, plan.cluster.as_str());
        let plan = DockerPlan {
            nodes: vec![node(1)],
            ..plan.clone()
        };
        bring_up(docker, &plan, &|_| {}).await.unwrap();
        start_part(docker, &plan, &node(2)).await.unwrap();
        let taken = start_part(docker, &plan, &node(2)).await.unwrap_err();
        assert!(matches!(taken, BringUpError::NameTaken { .. }), "{taken}");
        let nowhere = start_part(docker, &plan, &node(63)).await.unwrap_err();
        assert!(
            matches!(nowhere, BringUpError::NoAddress { index: 63, .. }),
            "{nowhere}"
        );

        kill(docker, cluster, "node-1").await.unwrap();
        kill(docker, cluster, "node-1").await.unwrap();
        assert!(kill(docker, cluster, "node-9").await.is_err());
        assert_eq!(
            running(daemon, cluster).await,
            ["control-plane", "registry", "gateway", "node-2"]
        );
        remove_node(docker, cluster, "node-2").await.unwrap();
        remove_node(docker, cluster, "node-2").await.unwrap();
        assert_eq!(list(docker, cluster).await.unwrap().len(), 4);
    })
    .await;
}

#[tokio::test]
async fn every_service_address_leads_to_the_load_balancer() {
    on_docker(async |daemon, plan| {
        bring_up(&daemon.docker, &plan, &|_| {}).await.unwrap();
        let (first, _) = plan.network.services();
        for offset in [1, 300, 16_000] {
            let address = Ipv4Addr::from(u32::from(first) + offset);
            until("an answer", async || {
                ask((address, 80).into())
                    .await
                    .is_some_and(|a| a.contains("hello"))
            })
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_owner_to_be() {
    on_docker(async |daemon, plan| {
        let squatter = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = squatter.local_addr().unwrap().port();
        let plan = DockerPlan {
            ports: Ports {
                registry: port,
                ..plan.ports
            },
            ..plan
        };
        let error = bring_up(&daemon.docker, &plan, &|_| {}).await.unwrap_err();
        let expected =
            matches!(error, BringUpError::PortTaken { port: p, role: Role::Registry } if p == port);
        assert!(expected, "{error}");
    })
    .await;
}

#[tokio::test]
async fn two_clusters_started_at_once_get_networks_of_their_own() {
    on_docker(async |daemon, plan| {
        let others = [format!("{}-a", plan.cluster), format!("{}-b", plan.cluster)];
        let (a, b) = tokio::join!(
            claim_network(&daemon.docker, &others[0]),
            claim_network(&daemon.docker, &others[1])
        );
        let again = claim_network(&daemon.docker, &plan.cluster).await;
        for other in &others {
            remove_all(&daemon.docker, other).await.unwrap();
        }
        let (a, b): (ClusterNetwork, ClusterNetwork) = (a.unwrap(), b.unwrap());
        assert!(
            a != b && a != plan.network && b != plan.network,
            "{a} {b} {}",
            plan.network
        );
        assert_eq!(again.unwrap(), plan.network);
    })
    .await;
}

#[tokio::test]
async fn a_pod_can_neither_stop_its_host_nor_reach_the_daemon_through_it() {
    on_docker(async |daemon, plan| {
        let docker = &daemon.docker;
        let plan = DockerPlan {
            nodes: vec![NodePlan {
                config: "protect;watch".into(),
                ..node(1)
            }],
            ..plan
        };
        bring_up(docker, &plan, &|_| {}).await.unwrap();
        let host = format!("{}-node-1", plan.cluster);
        let name = format!("{}-pod", plan.cluster);
        let pod = ContainerCreateBody {
            image: Some(plan.image.clone()),
            cmd: Some(vec!["component".into()]),
            env: Some(vec![
                "DEVOPS_LAB_CONFIG=reach-socket;term-init;orphan;zombies;print:done".into(),
            ]),
            labels: Some([("devops-lab.cluster".to_owned(), plan.cluster.clone())].into()),
            host_config: Some(HostConfig {
                pid_mode: Some(format!("container:{host}")),
                cap_drop: Some(vec!["ALL".into()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        until("the host to be protected", async || {
            let lines = logs(docker, &plan.cluster, "node-1", LogRequest::default());
            let text = lines.try_collect::<Vec<_>>().await.unwrap().concat();
            String::from_utf8_lossy(&text).contains("watching")
        })
        .await;
        let options = CreateContainerOptions {
            name: Some(name.clone()),
            ..CreateContainerOptions::default()
        };
        docker.create_container(Some(options), pod).await.unwrap();
        docker.start_container(&name, None).await.unwrap();
        let mut log = String::new();
        until("the pod to be done", async || {
            let lines = logs(docker, &plan.cluster, "pod", LogRequest::default());
            log = String::from_utf8_lossy(&lines.try_collect::<Vec<_>>().await.unwrap().concat())
                .into_owned();
            log.contains("done")
        })
        .await;
        assert!(log.contains("socket: Permission denied"), "{log}");
        assert!(
            log.contains("I am an orphan") && log.contains("zombies: 0"),
            "{log}"
        );
        assert_eq!(
            running(daemon, &plan.cluster).await,
            ["control-plane", "registry", "gateway", "node-1"]
        );

        let begun = Instant::now();
        let patient = StopContainerOptions {
            t: Some(20),
            ..StopContainerOptions::default()
        };
        docker.stop_container(&host, Some(patient)).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the host did not obey docker stop"
        );
        let ended = docker.inspect_container(&host, None).await.unwrap();
        assert_eq!(ended.state.unwrap().exit_code, Some(0));
    })
    .await;
}
