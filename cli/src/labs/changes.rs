//! What makes it worth while to check again: something changed that checks look at.
//!
//! The cluster tells by itself: every kind it serves is watched, in the learner's namespace and
//! outside of any. What has no watch is looked at once a second, which costs next to nothing:
//! the modification times of a few files (files of the host can lie on file systems that tell
//! nobody of changes), and the tags of the registry (its standard has no watch).

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::select_all;
use kube::Client;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use lab_cluster::lifecycle;
use lab_cluster::record::Record;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::kinds::Kinds;
use super::snapshot::registry::Tags;

/// Pause between two looks at what has no watch.
const LOOK: Duration = Duration::from_secs(1);
/// How long nothing must change before it is told: changes come in flocks.
const QUIET: Duration = Duration::from_millis(120);
/// How long a flock may last before it is told all the same.
const LONGEST: Duration = Duration::from_millis(600);
/// Pause before a cluster that does not answer is asked again.
const RETRY: Duration = Duration::from_secs(2);
/// Most files that are looked at.
const MOST_FILES: usize = 5_000;
/// The kind that makes other kinds.
const DEFINITION: &str = "CustomResourceDefinition";

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// The learner's directory, and what of it is the labs'.
    pub(crate) workspace: PathBuf,
    /// See `workspace`.
    pub(crate) names: BTreeSet<String>,
    /// Files and directories of which everything counts.
    pub(crate) others: Vec<PathBuf>,
}

/// Tells when something changed.
pub(crate) struct Changes {
    told: mpsc::Receiver<()>,
    /// Ended with this.
    _tasks: JoinSet<()>,
}

impl Changes {
    /// Begins to watch.
    ///
    /// # Errors
    /// Where the record's certificate cannot be read; a cluster that does not answer is asked
    /// again and again.
    pub(crate) fn of(record: &Record, namespace: &str, places: Places) -> anyhow::Result<Self> {
        // One note is as good as many.
        let (tell, told) = mpsc::channel(1);
        let client = lifecycle::client(record)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(objects(client, namespace.to_owned(), tell.clone()));
        tasks.spawn(files(places, tell.clone()));
        tasks.spawn(tags(record.clone(), tell));
        Ok(Self {
            told,
            _tasks: tasks,
        })
    }

    /// Waits for a change, and until it is over for the moment.
    pub(crate) async fn next(&mut self) {
        if self.told.recv().await.is_none() {
            // Nobody is left to tell.
            std::future::pending::<()>().await;
        }
        let latest = Instant::now() + LONGEST;
        while let Ok(Some(())) =
            timeout_at(latest.min(Instant::now() + QUIET), self.told.recv()).await
        {
            if Instant::now() >= latest {
                return;
            }
        }
    }
}

/// Tells of a change; where one is told of already, that will do.
fn note(tell: &mpsc::Sender<()>) {
    let _ = tell.try_send(());
}

async fn objects(client: Client, namespace: String, tell: mpsc::Sender<()>) {
    loop {
        match Kinds::of(&client).await {
            Ok(kinds) => until_other_kinds(&client, &kinds, &namespace, &tell).await,
            Err(error) => tracing::debug!(%error, "the API does not answer"),
        }
        sleep(RETRY).await;
        note(&tell);
    }
}

/// Watches until there are new kinds.
async fn until_other_kinds(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    tell: &mpsc::Sender<()>,
) {
    let apis = kinds.seen_from(client, namespace).into_iter();
    // Leases are renewed all the time, and no check looks at them.
    let streams = apis.filter(|(kind, _)| kind != "Lease").map(|(kind, api)| {
        let events = watcher(api, watcher::Config::default()).default_backoff();
        events.map(move |event| (kind.clone(), event)).boxed()
    });
    let mut events = select_all(streams);
    while let Some((kind, event)) = events.next().await {
        match event {
            Ok(Event::Init | Event::InitApply(_)) => {}
            // The first answer of a watch, and what a broken one missed.
            Ok(Event::InitDone) | Err(_) => note(tell),
            Ok(Event::Apply(_) | Event::Delete(_)) => {
                note(tell);
                if kind == DEFINITION {
                    return;
                }
            }
        }
    }
}

async fn files(places: Places, tell: mpsc::Sender<()>) {
    let mut before = None;
    loop {
        let places = places.clone();
        let looked = tokio::task::spawn_blocking(move || fingerprint(&places));
        let Ok(now) = looked.await else { return };
        if before.replace(now).is_some_and(|before| before != now) {
            note(&tell);
        }
        sleep(LOOK).await;
    }
}

async fn tags(record: Record, tell: mpsc::Sender<()>) {
    let mut before = None;
    loop {
        let now = Tags::read(&record).await.ok();
        if before
            .replace(now.clone())
            .is_some_and(|before| before != now)
        {
            note(&tell);
        }
        sleep(LOOK).await;
    }
}

/// A number that is another when a file came, went or was written.
fn fingerprint(places: &Places) -> u64 {
    let mut seen = HashMap::new();
    for name in &places.names {
        look(&places.workspace.join(name), &mut seen);
    }
    for place in &places.others {
        look(place, &mut seen);
    }
    let mut all: Vec<_> = seen.into_iter().collect();
    all.sort();
    let mut hasher = DefaultHasher::new();
    all.hash(&mut hasher);
    hasher.finish()
}

fn look(place: &Path, seen: &mut HashMap<PathBuf, (Option<std::time::SystemTime>, u64)>) {
    let Ok(metadata) = fs::symlink_metadata(place) else {
        return;
    };
    if seen.len() >= MOST_FILES {
        return;
    }
    if metadata.is_dir() {
        // What is in it tells more than its own time.
        seen.insert(place.to_owned(), (None, 0));
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            look(&entry.path(), seen);
        }
    } else {
        let written = metadata.modified().ok();
        seen.insert(place.to_owned(), (written, metadata.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_came_went_or_were_written_are_noticed_and_others_are_not() {
        let place = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("hello/k8s/a.yaml", "1");
        write("diary.txt", "1");
        let places = Places {
            workspace: place.path().to_owned(),
            names: BTreeSet::from(["hello".to_owned()]),
            others: vec![place.path().join("runs")],
        };
        let mut seen = vec![fingerprint(&places)];
        write("diary.txt", "2 of no concern");
        assert_eq!(fingerprint(&places), seen[0]);
        write("hello/k8s/a.yaml", "12");
        seen.push(fingerprint(&places));
        write("hello/b.txt", "");
        seen.push(fingerprint(&places));
        write("runs/1/run.json", "{}");
        seen.push(fingerprint(&places));
        fs::remove_file(place.path().join("hello/b.txt")).unwrap();
        seen.push(fingerprint(&places));
        let all: BTreeSet<_> = seen.iter().collect();
        assert_eq!(all.len(), seen.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flock_of_changes_is_told_once_and_an_endless_one_is_told_too() {
        let (tell, told) = mpsc::channel(1);
        let mut changes = Changes {
            told,
            _tasks: JoinSet::new(),
        };
        let began = Instant::now();
        for _ in 0..3 {
            note(&tell);
        }
        changes.next().await;
        assert!(began.elapsed() < LONGEST);
        let noisy = tokio::spawn(async move {
            loop {
                note(&tell);
                sleep(Duration::from_millis(10)).await;
            }
        });
        changes.next().await;
        changes.next().await;
        assert!(began.elapsed() < 4 * LONGEST);
        noisy.abort();
    }
}
