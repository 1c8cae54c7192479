//! What a learner's desk and cluster were at a moment, and how they become so again.
//!
//! A snapshot is taken through the public interfaces only (the Kubernetes API, the registry's,
//! files), so it is the same on every engine, and taking one changes nothing. It is no backup of
//! the cluster's store: uids, times and the ages of pods are not part of it, and what only time
//! can make (metrics, the progress of a canary within a step) comes again as the cluster makes
//! it.
//!
//! Start reading at [`Snapshots`], then `objects` for what belongs to the learner, `plan` for what
//! is to be done, and `restore` for how.

mod canary;
mod files;
mod objects;
mod plan;
pub(crate) mod registry;
mod restore;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use lab_cluster::lifecycle;
use lab_cluster::provider::RunState;
use lab_cluster::record::{ClusterDir, Home, Record, write_atomically};
use serde::{Deserialize, Serialize};

use files::{Blobs, Part, Tree};
use objects::Objects;
use registry::Tags;

/// Version of the files that this program writes and reads. Others are passed over: a snapshot
/// can be done without.
const VERSION: u32 = 2;
/// How many snapshots of a cluster are kept; the oldest go first.
const KEPT: usize = 40;

/// A cluster and a learner's directory.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    /// Where the cluster is kept.
    pub(crate) home: &'a Home,
    /// Its directory.
    pub(crate) dir: &'a ClusterDir,
    /// The learner's directory.
    pub(crate) workspace: &'a Path,
    /// First names of what is the labs' in it; none where all of it is.
    pub(crate) names: Option<&'a BTreeSet<String>>,
}

/// What was at a moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    version: u32,
    taken: Timestamp,
    objects: Objects,
    tags: Tags,
    nodes: Vec<u16>,
    /// Parts that did not run.
    stopped: BTreeSet<String>,
    /// The learner's files.
    workspace: Tree,
    /// Bare repositories, runs of pipelines and the record of traffic, by directory.
    records: BTreeMap<String, Tree>,
}

/// Directories of a cluster that hold what the learner made, with how they are called here.
fn records(dir: &ClusterDir) -> [(&'static str, PathBuf); 3] {
    [
        ("git", dir.git()),
        ("pipelines", dir.pipelines()),
        ("traffic", lab_cluster::traffic::record_dir(dir)),
    ]
}

impl<'a> Subject<'a> {
    fn part(&self) -> Part<'a> {
        self.names.map_or(Part::Whole, Part::Named)
    }
}

/// The snapshots of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    place: PathBuf,
    blobs: Blobs,
}

impl Snapshots {
    /// Of a cluster.
    pub(crate) fn of(dir: &ClusterDir) -> Self {
        let place = dir.join("snapshots");
        let blobs = Blobs::at(place.join("contents"));
        Self { place, blobs }
    }

    /// Takes one.
    ///
    /// # Errors
    /// Where the cluster does not answer, or the learner's files are too many.
    pub(crate) async fn take(&self, subject: &Subject<'_>) -> anyhow::Result<Snapshot> {
        let record = subject.dir.load()?;
        let client = lifecycle::client(&record)?;
        let (objects, tags, stopped) = futures::join!(
            Objects::read(&client),
            Tags::read(&record),
            stopped(&record, subject.dir)
        );
        let tree = |root: &Path, part| Tree::of(root, part, &self.blobs);
        let mut kept = BTreeMap::new();
        for (name, root) in records(subject.dir) {
            kept.insert(name.to_owned(), tree(&root, Part::Whole)?);
        }
        Ok(Snapshot {
            version: VERSION,
            taken: Timestamp::now(),
            objects: objects.context("the API does not answer")?,
            tags: tags?,
            nodes: record.nodes,
            stopped: stopped?,
            workspace: tree(subject.workspace, subject.part())?,
            records: kept,
        })
    }

    /// What a cluster begins with: nothing of the learner's.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub(crate) async fn blank(&self, subject: &Subject<'_>) -> anyhow::Result<Snapshot> {
        let record = subject.dir.load()?;
        let client = lifecycle::client(&record)?;
        let found = Objects::read(&client).await;
        let objects = found
            .context("the API does not answer")?
            .of_every_cluster(serde_json::to_value(lifecycle::default_gateway(&record))?);
        Ok(Snapshot {
            version: VERSION,
            taken: Timestamp::now(),
            objects,
            tags: Tags::default(),
            nodes: record.nodes,
            stopped: BTreeSet::new(),
            workspace: Tree::default(),
            records: BTreeMap::new(),
        })
    }

    fn path(&self, lab: &str, step: &str) -> PathBuf {
        self.place.join(lab).join(format!("{step}.json"))
    }

    /// Keeps one as how a step began; the first beginning counts.
    ///
    /// # Errors
    /// Of the file system.
    pub(crate) fn keep(&self, lab: &str, step: &str, snapshot: &Snapshot) -> anyhow::Result<()> {
        let path = self.path(lab, step);
        let failed = || format!("failed to write {}", path.display());
        let parent = path.parent().unwrap_or(&self.place);
        fs::create_dir_all(parent).with_context(failed)?;
        let text = serde_json::to_vec(snapshot)?;
        // Secrets are inside: only the owner may look.
        write_atomically(&path, &text, 0o600).with_context(failed)?;
        self.prune()
            .with_context(|| format!("failed to tidy {}", self.place.display()))
    }

    /// How a step began; none where that was not kept.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub(crate) fn beginning_of(&self, lab: &str, step: &str) -> anyhow::Result<Option<Snapshot>> {
        let path = self.path(lab, step);
        match fs::read(&path) {
            Ok(text) => {
                let snapshot: Option<Snapshot> = serde_json::from_slice(&text).ok();
                Ok(snapshot.filter(|snapshot| snapshot.version == VERSION))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }

    /// Forgets how some steps began.
    pub(crate) fn forget<'s>(&self, lab: &str, steps: impl IntoIterator<Item = &'s str>) {
        for step in steps {
            // What is not there is forgotten already.
            let _ = fs::remove_file(self.path(lab, step));
        }
    }

    /// Removes the oldest beyond what is kept, and contents that none has.
    fn prune(&self) -> io::Result<()> {
        let mut all = Vec::new();
        for lab in fs::read_dir(&self.place)? {
            let lab = lab?.path();
            if !lab.is_dir() || lab.ends_with("contents") {
                continue;
            }
            for file in fs::read_dir(lab)? {
                let file = file?;
                all.push((file.metadata()?.modified()?, file.path()));
            }
        }
        if all.len() <= KEPT {
            return Ok(());
        }
        all.sort();
        let kept = all.split_off(all.len() - KEPT);
        for (_, old) in all {
            fs::remove_file(old)?;
        }
        let mut used = BTreeSet::new();
        for (_, path) in kept {
            if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&fs::read(path)?) {
                let records = snapshot.records.values();
                let trees = records.chain([&snapshot.workspace]);
                used.extend(trees.flat_map(Tree::digests).map(str::to_owned));
            }
        }
        self.blobs.retain(&used)
    }
}

/// Parts of a cluster that do not run.
async fn stopped(record: &Record, dir: &ClusterDir) -> anyhow::Result<BTreeSet<String>> {
    let parts = lifecycle::provider(record, dir).await?.components().await?;
    let stopped = parts
        .into_iter()
        .filter(|part| part.state != RunState::Running);
    Ok(stopped.map(|part| part.name).collect())
}

/// True where a cluster or directory holds something that a blank one does not: something of the
/// learner's, to ask for before it is put aside.
///
/// # Errors
/// Where the cluster does not answer.
pub(crate) async fn has_own_work(subject: &Subject<'_>) -> anyhow::Result<bool> {
    let record = subject.dir.load()?;
    let client = lifecycle::client(&record)?;
    let objects = Objects::read(&client).await;
    let objects = objects.context("the API does not answer")?;
    let has_file = |name: &String| subject.workspace.join(name).exists();
    Ok(objects.has_own()
        || subject
            .names
            .is_some_and(|names| names.iter().any(has_file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            version: VERSION,
            taken: Timestamp::UNIX_EPOCH,
            objects: Objects::default(),
            tags: Tags::default(),
            nodes: vec![1, 3],
            stopped: BTreeSet::new(),
            workspace: Tree::default(),
            records: BTreeMap::new(),
        }
    }

    #[test]
    fn a_snapshot_is_kept_by_step_and_a_foreign_one_is_passed_over() {
        let home = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::of(&Home::at(home.path()).cluster("lab"));
        assert!(snapshots.beginning_of("deploy", "image").unwrap().is_none());
        snapshots.keep("deploy", "image", &snapshot()).unwrap();
        let kept = snapshots.beginning_of("deploy", "image").unwrap().unwrap();
        assert_eq!(kept.nodes, [1, 3]);
        let path = snapshots.path("deploy", "image");
        fs::write(&path, "{\"version\": 9}").unwrap();
        assert!(snapshots.beginning_of("deploy", "image").unwrap().is_none());
        snapshots.forget("deploy", ["image", "never"]);
        assert!(!path.exists());
    }

    #[test]
    fn the_number_of_snapshots_is_bounded() {
        let home = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::of(&Home::at(home.path()).cluster("lab"));
        for number in 0..KEPT + 3 {
            let step = format!("step-{number}");
            snapshots.keep("deploy", &step, &snapshot()).unwrap();
        }
        let kept = fs::read_dir(snapshots.place.join("deploy"))
            .unwrap()
            .count();
        assert_eq!(kept, KEPT);
        let last = format!("step-{}", KEPT + 2);
        assert!(snapshots.beginning_of("deploy", &last).unwrap().is_some());
    }
}
