//! Bringing a cluster and a learner's directory back to a snapshot.
//!
//! In an order in which nothing waits for what comes later: what disturbs ends (traffic, faults),
//! parts and nodes are there, images and files are back, then objects, then their pods.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use lab_cluster::config::{ClusterSpec, EngineKind};
use lab_cluster::faults::{self, Ledger, Stage};
use lab_cluster::lifecycle::{self, StartOptions};
use lab_cluster::plan::node_name;
use lab_cluster::provider::{Progress, Silent};
use lab_cluster::traffic;
use tokio::time::Instant;

use super::files::Part;
use super::write::Writer;
use super::{Snapshot, Snapshots, Subject, records};

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Restored {
    /// Files of the learner that were put aside.
    pub(crate) displaced: usize,
    /// Workloads that were not as ready as before when patience ended.
    pub(crate) unsettled: Vec<String>,
}

impl Snapshots {
    /// Makes the cluster and the learner's directory what they were. Files that are displaced go
    /// to `backup`.
    ///
    /// # Errors
    /// Naming what could not be brought back. Doing it again goes on from there.
    pub(crate) async fn restore(
        &self,
        snapshot: &Snapshot,
        subject: &Subject<'_>,
        backup: &Path,
        progress: &dyn Progress,
    ) -> anyhow::Result<Restored> {
        shown(progress, "parts and nodes", parts(snapshot, subject)).await?;
        let record = subject.dir.load()?;
        shown(progress, "images", snapshot.tags.restore(&record)).await?;
        let files = async { self.files(snapshot, subject, backup) };
        let displaced = shown(progress, "files", files).await?;
        let writer = Writer {
            client: lifecycle::client(&record)?,
            kept: &snapshot.objects,
        };
        let plan = shown(progress, "objects", writer.objects()).await?;
        let settled = async { Ok(writer.settle().await) };
        let unsettled = shown(progress, "workloads", settled).await?;
        writer.events(&plan).await?;
        let provider = lifecycle::provider(&record, subject.dir).await?;
        for part in &snapshot.stopped {
            provider.stop_component(part).await?;
        }
        Ok(Restored {
            displaced,
            unsettled,
        })
    }

    fn files(
        &self,
        snapshot: &Snapshot,
        subject: &Subject<'_>,
        backup: &Path,
    ) -> anyhow::Result<usize> {
        for (name, root) in records(subject.dir) {
            let kept = snapshot.records.get(name).cloned().unwrap_or_default();
            let place = backup.join("cluster").join(name);
            kept.restore(&root, Part::Whole, &self.blobs, &place)?;
        }
        let tree = &snapshot.workspace;
        tree.restore(subject.workspace, subject.part(), &self.blobs, backup)
    }
}

/// Does a part of it, for people who wait.
async fn shown<T>(
    progress: &dyn Progress,
    what: &str,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    progress.begin(what);
    let done = work.await?;
    progress.done(what, began.elapsed(), "");
    Ok(done)
}

/// Ends what disturbs, starts what does not run, and makes the nodes those that there were.
async fn parts(snapshot: &Snapshot, subject: &Subject<'_>) -> anyhow::Result<()> {
    let Subject { home, dir, .. } = subject;
    traffic::stop(dir).await?;
    let record = dir.load()?;
    let count = u16::try_from(snapshot.nodes.len())?;
    let simulated = record.engine == EngineKind::Simulated;
    let options = StartOptions {
        name: record.name.clone(),
        spec: ClusterSpec {
            nodes: simulated.then_some(count),
            ..ClusterSpec::default()
        },
        kubeconfig: None,
    };
    lifecycle::start(home, options, &Silent)
        .await
        .context("the cluster does not start")?;
    heal(subject).await?;
    if !simulated {
        nodes(&snapshot.nodes, subject).await?;
    }
    Ok(())
}

async fn heal(subject: &Subject<'_>) -> anyhow::Result<()> {
    let dir = subject.dir;
    let injected = Ledger::of(dir).entries()?;
    if injected.is_empty() {
        return Ok(());
    }
    let stage = Stage::open(dir.clone(), dir.load()?, None).await?;
    for injection in injected.iter().rev() {
        faults::heal(&stage, injection).await?;
    }
    Ok(())
}

/// Adds the nodes that are missing, then removes those that are too many: an added one takes the
/// lowest number that is free, which may not be one of those that there were.
async fn nodes(wanted: &[u16], subject: &Subject<'_>) -> anyhow::Result<()> {
    let dir = subject.dir;
    while let there = dir.load()?.nodes
        && wanted.iter().any(|node| !there.contains(node))
    {
        if there.len() > wanted.len() + usize::from(wanted.iter().copied().max().unwrap_or(0)) {
            bail!("the nodes cannot be brought back; see devops-lab status");
        }
        lifecycle::add_node(dir, &Silent).await?;
    }
    let there = dir.load()?.nodes;
    for extra in there.iter().filter(|node| !wanted.contains(node)) {
        lifecycle::remove_node(dir, &node_name(*extra)).await?;
    }
    Ok(())
}

/// How long a restore may wait for objects to go, and for workloads to be as ready as they were.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(60);
