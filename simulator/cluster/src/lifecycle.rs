//! What `start`, `stop`, `delete` and `node` do, from nothing to a cluster that answers and back.
//!
//! Everything is idempotent: a start of what runs changes nothing, a start of what is half dead
//! brings back the missing parts, a delete removes whatever is there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep};

use crate::config::{
    ClusterSpec, EngineKind, PortPreferences, check_name, check_nodes, check_speed,
};
use crate::docker_provider::{self, DockerProvider};
use crate::kubeconfig;
use crate::pki::{Pki, token};
use crate::plan::{Network, node_name};
use crate::ports::{self, Moved};
use crate::process::ProcessProvider;
use crate::provider::{Progress, Provider};
use crate::record::{ClusterDir, Home, RECORD_VERSION, Record, RecordError};
use crate::roles::{ApiAccess, api_access};

/// Nodes of a cluster whose number nobody named.
pub const DEFAULT_NODES: u16 = 3;
/// Name of a cluster that nobody named.
pub const DEFAULT_NAME: &str = "lab";
/// How long all nodes may take to become Ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(10);

/// What the user asked of a start; absent fields are decided here.
#[derive(Clone, Debug, Default)]
pub struct StartOptions {
    /// Name of the cluster.
    pub name: String,
    /// What the flags and the cluster file say.
    pub spec: ClusterSpec,
    /// The kubeconfig to add a context to; none with `--no-kubeconfig`. Asked for a cluster that is
    /// there, it changes nothing: what was decided when the cluster was made stays.
    pub kubeconfig: Option<PathBuf>,
}

/// What a start did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// There was no such cluster.
    Created,
    /// It was there, and these parts were brought up.
    Resumed(Vec<String>),
    /// It ran already, as asked.
    Unchanged,
    /// Nodes were added or removed.
    Resized {
        /// Names of new nodes.
        added: Vec<String>,
        /// Names of removed nodes.
        removed: Vec<String>,
    },
}

/// The outcome of a start.
#[derive(Clone, Debug)]
pub struct StartReport {
    /// The cluster.
    pub record: Record,
    /// What was done.
    pub started: Started,
    /// Why this engine, where it was chosen now.
    pub engine_reason: Option<String>,
    /// Preferred ports that were taken.
    pub moved: Vec<Moved>,
}

/// A client with the administrator's token.
///
/// # Errors
/// Where the record's certificate cannot be read.
pub fn client(record: &Record) -> anyhow::Result<Client> {
    let access = api_access(record, [127, 0, 0, 1].into());
    ApiAccess {
        token: record.token.clone(),
        ..access
    }
    .client()
}

/// The Gateway that a cluster starts with.
#[must_use]
pub fn default_gateway(record: &Record) -> lab_api::gateway::Gateway {
    lab_controllers::default_gateway(record.ports.production, record.ports.test)
}

/// The provider of a cluster's engine.
///
/// # Errors
/// Where the engine's daemon cannot be reached.
pub async fn provider(record: &Record, dir: &ClusterDir) -> anyhow::Result<Box<dyn Provider>> {
    let program = std::env::current_exe().context("this program cannot find its own executable")?;
    Ok(match record.engine {
        EngineKind::Docker => Box::new(DockerProvider::connect(record.clone(), program).await?),
        EngineKind::Process | EngineKind::Simulated => {
            Box::new(ProcessProvider::new(record.clone(), dir.clone(), program))
        }
    })
}

/// Brings a cluster to what was asked, from whatever state it is in. Where the cluster is new and
/// the start fails, nothing is left of it.
///
/// # Errors
/// With the part that failed and the next step.
pub async fn start(
    home: &Home,
    options: StartOptions,
    progress: &dyn Progress,
) -> anyhow::Result<StartReport> {
    check_name(&options.name).map_err(anyhow::Error::msg)?;
    if let Some(speed) = options.spec.speed {
        check_speed(speed).map_err(anyhow::Error::msg)?;
    }
    let dir = home.cluster(&options.name);
    match dir.load() {
        Ok(record) => resume(home, &dir, record, options, progress).await,
        Err(RecordError::NotFound { .. }) => create(home, &dir, options, progress).await,
        Err(error) => Err(error.into()),
    }
}

async fn create(
    home: &Home,
    dir: &ClusterDir,
    options: StartOptions,
    progress: &dyn Progress,
) -> anyhow::Result<StartReport> {
    let (engine, reason) = choose_engine(options.spec.engine).await?;
    let nodes = options.spec.nodes.unwrap_or(DEFAULT_NODES);
    check_nodes(nodes, Some(engine)).map_err(anyhow::Error::msg)?;
    let lock = home.lock().await?;
    if dir.exists() {
        bail!(
            "cluster {:?} is being started by another command at this moment; see `devops-lab status --name {}`",
            options.name,
            options.name
        );
    }
    let others = home.records();
    let reserved: Vec<_> = others
        .iter()
        .flat_map(|other| other.ports.all())
        .map(|(_, port)| port)
        .collect();
    let (ports, moved) = ports::choose(options.spec.ports, &reserved)?;
    let network = match engine {
        EngineKind::Docker => docker_provider::claim(&options.name).await?,
        EngineKind::Process | EngineKind::Simulated => {
            free_loopback(&others, first_octet(options.spec.ports))?
        }
    };
    let names = certificate_names(network);
    let mut record = Record {
        version: RECORD_VERSION,
        name: options.name,
        engine,
        speed: options.spec.speed.unwrap_or(1.0),
        created: jiff::Timestamp::now(),
        nodes: (1..=nodes).collect(),
        resources: options.spec.node,
        ports,
        network,
        pki: Pki::generate(&dir_name(dir), &names)
            .context("failed to make the cluster's certificates")?,
        token: token(),
        node_token: token(),
        kubeconfig: options.kubeconfig,
        previous_context: None,
    };
    dir.save(&record)?;
    drop(lock);
    let brought_up = bring_up(dir, &mut record, progress).await;
    if let Err(error) = brought_up {
        let left = delete_cluster(dir, Some(&record)).await;
        return Err(match left {
            Ok(()) => error,
            Err(left) => {
                error.context(format!("and what was begun could not be removed: {left:#}"))
            }
        });
    }
    Ok(StartReport {
        record,
        started: Started::Created,
        engine_reason: Some(reason),
        moved,
    })
}

fn dir_name(dir: &ClusterDir) -> String {
    dir.path()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

async fn bring_up(
    dir: &ClusterDir,
    record: &mut Record,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    provider(record, dir).await?.up(progress).await?;
    await_nodes(record, progress).await?;
    join_kubeconfig(dir, record, progress).await
}

async fn resume(
    home: &Home,
    dir: &ClusterDir,
    mut record: Record,
    options: StartOptions,
    progress: &dyn Progress,
) -> anyhow::Result<StartReport> {
    refuse_changes(&record, &options.spec)?;
    let wanted = options
        .spec
        .nodes
        .unwrap_or(u16::try_from(record.nodes.len()).unwrap_or(DEFAULT_NODES));
    check_nodes(wanted, Some(record.engine)).map_err(anyhow::Error::msg)?;
    let (added, removed) = resized(&record.nodes, wanted);
    if record.engine == EngineKind::Simulated && !(added.is_empty() && removed.is_empty()) {
        // Simulated nodes live in the control plane's process, which reads their number at start.
        provider(&record, dir).await?.stop().await?;
    }
    if !removed.is_empty() {
        remove_nodes(dir, &mut record, &removed).await?;
    }
    record.nodes.extend(&added);
    add_metrics_port(home, &mut record, &options.spec)?;
    dir.save(&record)?;
    let started = provider(&record, dir).await?.up(progress).await?;
    if !started.is_empty() || !added.is_empty() || lacks_a_node(&record).await {
        await_nodes(&record, progress).await?;
    }
    if record.engine == EngineKind::Simulated {
        // Their control plane was down when they went.
        delete_objects(&record, &removed).await?;
    }
    join_kubeconfig(dir, &mut record, progress).await?;
    let names = |indexes: &[u16]| {
        indexes
            .iter()
            .map(|index| node_name(*index))
            .collect::<Vec<_>>()
    };
    let outcome = if !added.is_empty() || !removed.is_empty() {
        Started::Resized {
            added: names(&added),
            removed: names(&removed),
        }
    } else if started.is_empty() {
        Started::Unchanged
    } else {
        Started::Resumed(started)
    };
    Ok(StartReport {
        record,
        started: outcome,
        engine_reason: None,
        moved: Vec::new(),
    })
}

/// A cluster that an older program made has no port for metrics. Its processes take one with their
/// next start; containers are kept as they were made, and stay without.
fn add_metrics_port(home: &Home, record: &mut Record, spec: &ClusterSpec) -> anyhow::Result<()> {
    if record.ports.metrics.is_some() || record.engine == EngineKind::Docker {
        return Ok(());
    }
    let others = home.records().into_iter().flat_map(|one| one.ports.all());
    let reserved: Vec<_> = others.map(|(_, port)| port).collect();
    record.ports.metrics = Some(ports::choose_metrics(spec.ports, &reserved)?);
    Ok(())
}

/// A running cluster keeps its engine, speed and size of nodes; asking for others is no mistake to
/// pass over in silence.
fn refuse_changes(record: &Record, spec: &ClusterSpec) -> anyhow::Result<()> {
    let name = &record.name;
    if let Some(engine) = spec.engine.filter(|engine| *engine != record.engine) {
        bail!(
            "cluster {name:?} runs on the {} engine; to have one on {}, delete it first (devops-lab delete --name {name}) or start another (--name OTHER)",
            record.engine.as_str(),
            engine.as_str()
        );
    }
    if let Some(speed) = spec
        .speed
        .filter(|speed| (*speed - record.speed).abs() > f64::EPSILON)
    {
        bail!(
            "cluster {name:?} runs at speed {}; to have one at {speed}, delete it first (devops-lab delete --name {name})",
            record.speed
        );
    }
    Ok(())
}

/// Which nodes come and go for `wanted` of them: the newest go, the lowest free index comes.
fn resized(nodes: &[u16], wanted: u16) -> (Vec<u16>, Vec<u16>) {
    let wanted = usize::from(wanted);
    if nodes.len() >= wanted {
        return (Vec::new(), nodes[wanted..].to_vec());
    }
    let free = (1..).filter(|index| !nodes.contains(index));
    (free.take(wanted - nodes.len()).collect(), Vec::new())
}

/// Waits until every node of the record is Ready.
///
/// # Errors
/// Naming those that are not, after a minute.
pub async fn await_nodes(record: &Record, progress: &dyn Progress) -> anyhow::Result<()> {
    let part = match record.nodes.len() {
        1 => "1 node Ready".to_owned(),
        count => format!("{count} nodes Ready"),
    };
    progress.begin(&part);
    let began = Instant::now();
    let nodes: Api<Node> = Api::all(client(record)?);
    loop {
        let listed = nodes.list(&ListParams::default()).await;
        let ready: Vec<String> = listed
            .iter()
            .flatten()
            .filter(|node| is_ready(node))
            .filter_map(|n| n.metadata.name.clone())
            .collect();
        let missing: Vec<_> = record
            .nodes
            .iter()
            .map(|index| node_name(*index))
            .filter(|name| !ready.contains(name))
            .collect();
        if missing.is_empty() {
            progress.done(&part, began.elapsed(), "");
            return Ok(());
        }
        if began.elapsed() > READY_LIMIT {
            let hint = format!(
                "see `devops-lab logs {} --name {}`",
                missing[0], record.name
            );
            match listed {
                Ok(_) => bail!(
                    "not Ready after {} s: {}; {hint}",
                    READY_LIMIT.as_secs(),
                    missing.join(", ")
                ),
                Err(error) => {
                    return Err(error).with_context(|| format!("the API does not answer; {hint}"));
                }
            }
        }
        sleep(LOOK).await;
    }
}

/// True where the node's Ready condition is True.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn join_kubeconfig(
    dir: &ClusterDir,
    record: &mut Record,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let Some(path) = record.kubeconfig.clone() else {
        return Ok(());
    };
    let began = Instant::now();
    let previous = kubeconfig::merge(&path, record).await?;
    if record.previous_context.is_none() {
        record.previous_context = previous;
    }
    dir.save(record)?;
    progress.done(
        "kubeconfig",
        began.elapsed(),
        &kubeconfig::context_name(&record.name),
    );
    Ok(())
}

/// Second bytes of the loopback networks of clusters.
const FIRST_OCTET: u8 = 10;
const LAST_OCTET: u8 = 250;

/// Docker where a daemon answers, else processes; with the reason in words.
async fn choose_engine(asked: Option<EngineKind>) -> anyhow::Result<(EngineKind, String)> {
    match asked {
        Some(EngineKind::Docker) => {
            let version = docker_provider::check().await?;
            Ok((EngineKind::Docker, format!("asked for; Docker {version}")))
        }
        Some(engine) => Ok((engine, "asked for".to_owned())),
        None => Ok(match docker_provider::check().await {
            Ok(version) => (EngineKind::Docker, format!("Docker {version} answers")),
            Err(why) => (EngineKind::Process, format!("no Docker here: {why}")),
        }),
    }
}

/// Where the search for a loopback network begins. Clusters with ports of their own begin
/// elsewhere: another home's cluster that is down at the moment is not seen by its listeners.
fn first_octet(ports: PortPreferences) -> u8 {
    if ports == PortPreferences::default() {
        return FIRST_OCTET;
    }
    let others = u16::from(LAST_OCTET - FIRST_OCTET) / 2;
    let beyond = u8::try_from(ports.api / 8 % others).unwrap_or_default();
    LAST_OCTET - beyond
}

/// The second byte of 127.K.0.0/16, from this one on, that no cluster of this user has and nobody
/// listens on.
fn free_loopback(others: &[Record], first: u8) -> anyhow::Result<Network> {
    let taken: Vec<_> = others.iter().map(|other| other.network).collect();
    (first..=LAST_OCTET)
        .chain(FIRST_OCTET..first)
        .map(|octet| Network::Loopback { octet })
        .find(|network| !taken.contains(network) && is_unused(*network))
        .context("no loopback network 127.10.0.0/16 to 127.250.0.0/16 is free: delete clusters you no longer need (devops-lab status --all)")
}

fn is_unused(network: Network) -> bool {
    std::net::TcpListener::bind((network.node_ip(1), crate::roles::AGENT_PORT)).is_ok()
}

fn certificate_names(network: Network) -> Vec<String> {
    let mut names: Vec<String> = [
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    .map(str::to_owned)
    .into();
    names.push(network.api_service().to_string());
    if let Network::Bridge { .. } = network {
        names.push(network.api_endpoint().to_string());
    }
    names
}

/// Ends every part; everything is kept.
///
/// # Errors
/// Where a part cannot be ended.
pub async fn stop(dir: &ClusterDir) -> anyhow::Result<Record> {
    let record = dir.load()?;
    // First of all: what users meet while everything ends is no finding.
    crate::traffic::stop(dir).await?;
    provider(&record, dir).await?.stop().await?;
    Ok(record)
}

/// Removes a cluster with everything that belongs to it, whatever state it is in.
///
/// # Errors
/// Where something could not be removed.
pub async fn delete(home: &Home, name: &str) -> anyhow::Result<()> {
    // A name such as `..` would lead out of the home.
    check_name(name).map_err(anyhow::Error::msg)?;
    let dir = home.cluster(name);
    match dir.load() {
        Ok(record) => {
            if let Some(path) = &record.kubeconfig {
                kubeconfig::remove(path, name, record.previous_context.as_deref()).await?;
            }
            delete_cluster(&dir, Some(&record)).await
        }
        Err(RecordError::NotFound { .. }) => {
            // A record that is gone may have left containers behind.
            if docker_provider::remove_leftovers(name).await? {
                return Ok(());
            }
            Err(RecordError::NotFound {
                name: name.to_owned(),
            }
            .into())
        }
        Err(error @ RecordError::Newer { .. }) => Err(error.into()),
        Err(_) => delete_cluster(&dir, None).await,
    }
}

/// Removes parts and directory. Without a record, both engines are looked through.
async fn delete_cluster(dir: &ClusterDir, record: Option<&Record>) -> anyhow::Result<()> {
    crate::traffic::stop(dir).await?;
    match record {
        Some(record) => provider(record, dir).await?.delete().await?,
        None => {
            ProcessProvider::orphaned(dir).await?;
            docker_provider::remove_leftovers(&dir_name(dir))
                .await
                .map(drop)
                .or_else(|error| {
                    tracing::debug!(%error, "no Docker to look for leftovers in");
                    anyhow::Ok(())
                })?;
        }
    }
    Ok(dir.remove()?)
}

/// Adds a node; answers its name.
///
/// # Errors
/// Where the engine carries no more, or the node does not become Ready.
pub async fn add_node(dir: &ClusterDir, progress: &dyn Progress) -> anyhow::Result<String> {
    let mut record = dir.load()?;
    refuse_for_simulated(&record)?;
    let count = u16::try_from(record.nodes.len() + 1)?;
    check_nodes(count, Some(record.engine)).map_err(anyhow::Error::msg)?;
    let (added, _) = resized(&record.nodes, count);
    record.nodes.extend(&added);
    dir.save(&record)?;
    let name = node_name(added[0]);
    progress.begin(&name);
    let began = Instant::now();
    provider(&record, dir).await?.start_component(&name).await?;
    await_nodes(&record, progress).await?;
    progress.done(&name, began.elapsed(), "");
    Ok(name)
}

fn refuse_for_simulated(record: &Record) -> anyhow::Result<()> {
    if record.engine == EngineKind::Simulated {
        bail!(
            "simulated nodes come and go with the cluster: use `devops-lab start N --name {}` to change their number",
            record.name
        );
    }
    Ok(())
}

/// Takes a node out of the cluster for good; its pods are made anew elsewhere.
///
/// # Errors
/// Where there is no such node, or it is the last one.
pub async fn remove_node(dir: &ClusterDir, name: &str) -> anyhow::Result<()> {
    let mut record = dir.load()?;
    refuse_for_simulated(&record)?;
    let index = node_index(&record, name)?;
    if record.nodes.len() == 1 {
        bail!(
            "{name} is the only node of cluster {:?}: add another first (devops-lab node add), or delete the cluster",
            record.name
        );
    }
    remove_nodes(dir, &mut record, &[index]).await
}

async fn remove_nodes(
    dir: &ClusterDir,
    record: &mut Record,
    indexes: &[u16],
) -> anyhow::Result<()> {
    let provider = provider(record, dir).await?;
    for index in indexes {
        if record.engine != EngineKind::Simulated {
            provider.remove_node(&node_name(*index)).await?;
            delete_objects(record, &[*index]).await?;
        }
        record.nodes.retain(|kept| kept != index);
    }
    Ok(dir.save(record)?)
}

/// Deletes the Node objects of machines that are gone.
async fn delete_objects(record: &Record, indexes: &[u16]) -> anyhow::Result<()> {
    let api: Api<Node> = Api::all(client(record)?);
    for index in indexes {
        let name = node_name(*index);
        match api.delete(&name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            // The control plane does not run.
            Err(error) => tracing::debug!(%error, name, "node object not removed"),
        }
    }
    Ok(())
}

/// True where the API has no Node of a machine: somebody deleted it, and the machine is about to
/// register again.
async fn lacks_a_node(record: &Record) -> bool {
    let Ok(client) = client(record) else {
        return false;
    };
    let nodes: Api<Node> = Api::all(client);
    // An API that does not answer says nothing about nodes.
    let Ok(nodes) = nodes.list(&ListParams::default()).await else {
        return false;
    };
    let there = |name: &str| {
        nodes
            .iter()
            .any(|node| node.metadata.name.as_deref() == Some(name))
    };
    record.nodes.iter().any(|index| !there(&node_name(*index)))
}

/// The index of a node by its name.
///
/// # Errors
/// Naming the nodes there are.
pub fn node_index(record: &Record, name: &str) -> anyhow::Result<u16> {
    record
        .nodes
        .iter()
        .copied()
        .find(|index| node_name(*index) == name)
        .with_context(|| {
            let names: Vec<_> = record.nodes.iter().map(|index| node_name(*index)).collect();
            format!(
                "cluster {:?} has no node {name:?}; it has {}",
                record.name,
                names.join(", ")
            )
        })
}

/// Switches a node on.
///
/// # Errors
/// Where there is no such node, or it does not become Ready.
pub async fn start_node(
    dir: &ClusterDir,
    name: &str,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let record = dir.load()?;
    refuse_for_simulated(&record)?;
    node_index(&record, name)?;
    progress.begin(name);
    let began = Instant::now();
    provider(&record, dir).await?.start_component(name).await?;
    progress.done(name, began.elapsed(), "");
    Ok(())
}

/// Switches a node off, as by its power switch; its pods die with it.
///
/// # Errors
/// Where there is no such node.
pub async fn stop_node(dir: &ClusterDir, name: &str) -> anyhow::Result<()> {
    let record = dir.load()?;
    refuse_for_simulated(&record)?;
    node_index(&record, name)?;
    provider(&record, dir).await?.stop_component(name).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sample;

    #[test]
    fn the_newest_nodes_go_and_the_lowest_index_comes() {
        assert_eq!(resized(&[1, 2, 3], 2), (vec![], vec![3]));
        assert_eq!(resized(&[1, 3], 3), (vec![2], vec![]));
        assert_eq!(resized(&[1, 2, 3], 3), (vec![], vec![]));
    }

    #[test]
    fn another_engine_for_a_running_cluster_is_refused_with_the_way_out() {
        let spec = ClusterSpec {
            engine: Some(EngineKind::Docker),
            ..ClusterSpec::default()
        };
        let message = refuse_changes(&sample("lab"), &spec)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("delete --name lab") && message.contains("--name OTHER"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_node_is_answered_with_those_there_are() {
        let message = node_index(&sample("lab"), "node-9")
            .unwrap_err()
            .to_string();
        assert!(message.contains("node-1, node-2, node-3"), "{message}");
    }
}
