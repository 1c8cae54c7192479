//! What is kept of a cluster on the host: `cluster.json` in its directory.
//!
//! ```text
//! $DEVOPS_LAB_HOME, or $XDG_DATA_HOME/devops-lab, or ~/.local/share/devops-lab
//!   clusters/NAME/cluster.json   this record, mode 0600
//!   clusters/NAME/run/           process ids: of the process engine, and of traffic
//!   clusters/NAME/logs/          output of the cluster's processes
//!   clusters/NAME/traffic/       what the requests of `devops-lab traffic` met
//!   clusters/NAME/store.sqlite   objects      } on the docker engine these two
//!   clusters/NAME/registry/      images       } are volumes
//!   clusters/NAME/nodes/NODE/    pods of a node
//!   clusters/NAME/git/           repositories } of `devops-lab ci`
//!   clusters/NAME/pipelines/     their runs   }
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{EngineKind, NodeResources};
use crate::pki::Pki;
use crate::plan::Network;
use crate::ports::Ports;

/// Pause between two looks at a lock that another program holds.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Version of the record that this program writes and reads.
pub const RECORD_VERSION: u32 = 1;

/// Everything that a cluster must keep over restarts but its objects and images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`RECORD_VERSION`] of the writer.
    pub version: u32,
    /// Name of the cluster.
    pub name: String,
    /// What runs its pods.
    pub engine: EngineKind,
    /// How many times faster than real time its own waits run.
    pub speed: f64,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// Indexes of its nodes, ascending; node `i` is called `node-i`.
    pub nodes: Vec<u16>,
    /// What each node offers.
    pub resources: NodeResources,
    /// Its ports on 127.0.0.1.
    pub ports: Ports,
    /// Its addresses.
    pub network: Network,
    /// Certificates of its API.
    pub pki: Pki,
    /// Bearer token of the administrator.
    pub token: String,
    /// Bearer token between the API server and the nodes.
    pub node_token: String,
    /// The kubeconfig that has its context, if any.
    pub kubeconfig: Option<PathBuf>,
    /// The context that was current there before.
    pub previous_context: Option<String>,
}

/// Why a cluster's record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no such cluster.
    #[error("there is no cluster named {name:?}")]
    NotFound {
        /// Its name.
        name: String,
    },
    /// The file is damaged.
    #[error(
        "{path} is damaged ({problem}); `devops-lab delete --name {name}` removes the cluster and what is left of it"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The cluster.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A newer program wrote it.
    #[error(
        "{path} was written by a newer devops-lab (record version {found}, this program reads up to {RECORD_VERSION}); install the newer program, or delete the cluster with it"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file system refused.
    #[error("failed to {verb} {path}")]
    Io {
        /// `read`, `write` …
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Nobody says where state belongs.
    #[error(
        "neither DEVOPS_LAB_HOME, XDG_DATA_HOME nor HOME is set: set one of them to say where clusters are kept"
    )]
    NoHome,
}

/// The directory that holds all clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// A home at a given place.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// From the environment.
    ///
    /// # Errors
    /// Where no variable says where.
    pub fn from_env() -> Result<Self, RecordError> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        variable("DEVOPS_LAB_HOME")
            .or_else(|| Some(variable("XDG_DATA_HOME")?.join("devops-lab")))
            .or_else(|| Some(variable("HOME")?.join(".local/share/devops-lab")))
            .map(Self)
            .ok_or(RecordError::NoHome)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The local image store (an OCI image layout).
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// The directory of one cluster.
    #[must_use]
    pub fn cluster(&self, name: &str) -> ClusterDir {
        ClusterDir {
            path: self.0.join("clusters").join(name),
            name: name.to_owned(),
        }
    }

    /// Names of all clusters with a directory, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("clusters"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Waits until no other program chooses ports and addresses here, and keeps others from it
    /// until the answer is dropped: two clusters that are started at once must not choose the same.
    ///
    /// # Errors
    /// Where the home cannot be written.
    pub async fn lock(&self) -> Result<HomeLock, RecordError> {
        let path = self.0.join("lock");
        let failed = |verb| {
            let path = path.clone();
            move |source| RecordError::Io { verb, path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(failed("create"))?;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed("open"))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(HomeLock { _file: file }),
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(LOCK_PAUSE).await,
                Err(fs::TryLockError::Error(source)) => return Err(failed("lock")(source)),
            }
        }
    }

    /// Every record that can be read.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.names()
            .iter()
            .filter_map(|name| self.cluster(name).load().ok())
            .collect()
    }
}

/// Held by the one start that chooses ports and addresses; the kernel releases it when its process
/// ends, whichever way.
#[derive(Debug)]
pub struct HomeLock {
    _file: fs::File,
}

/// The directory of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDir {
    path: PathBuf,
    name: String,
}

impl ClusterDir {
    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the record lies.
    #[must_use]
    pub fn record_path(&self) -> PathBuf {
        self.path.join("cluster.json")
    }

    /// The cluster's bare git repositories.
    #[must_use]
    pub fn git(&self) -> PathBuf {
        self.path.join("git")
    }

    /// The runs of its pipelines.
    #[must_use]
    pub fn pipelines(&self) -> PathBuf {
        self.path.join("pipelines")
    }

    /// A file or directory inside.
    #[must_use]
    pub fn join(&self, part: &str) -> PathBuf {
        self.path.join(part)
    }

    /// True where there is a directory, whatever is in it.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Reads the record.
    ///
    /// # Errors
    /// Where it is absent, damaged or newer than this program.
    pub fn load(&self) -> Result<Record, RecordError> {
        let path = self.record_path();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.exists() => {
                return Err(RecordError::NotFound {
                    name: self.name.clone(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.corrupt("the file is missing"));
            }
            Err(source) => {
                return Err(RecordError::Io {
                    verb: "read",
                    path,
                    source,
                });
            }
        };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let version: Version =
            serde_json::from_str(&text).map_err(|error| self.corrupt(&error.to_string()))?;
        if version.version > RECORD_VERSION {
            return Err(RecordError::Newer {
                path,
                found: version.version,
            });
        }
        serde_json::from_str(&text).map_err(|error| self.corrupt(&error.to_string()))
    }

    fn corrupt(&self, problem: &str) -> RecordError {
        RecordError::Corrupt {
            path: self.record_path(),
            name: self.name.clone(),
            problem: problem.to_owned(),
        }
    }

    /// Writes the record so that a reader sees the old or the new one, never half of it.
    ///
    /// # Errors
    /// Where the file system refuses (disk full, permissions).
    pub fn save(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.record_path();
        let failed = |verb| {
            let path = path.clone();
            move |source| RecordError::Io { verb, path, source }
        };
        // Tokens and keys are inside: only the owner may look.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(failed("create"))?;
        let text =
            serde_json::to_vec_pretty(record).map_err(|error| self.corrupt(&error.to_string()))?;
        write_atomically(&path, &text, 0o600).map_err(failed("write"))
    }

    /// Removes the directory and all in it.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn remove(&self) -> Result<(), RecordError> {
        match fs::remove_dir_all(&self.path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(RecordError::Io {
                verb: "remove",
                path: self.path.clone(),
                source,
            }),
        }
    }
}

/// Writes a file through a temporary neighbour and a rename, synced to disk.
///
/// # Errors
/// Of the file system; the old content is then untouched.
pub fn write_atomically(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = (|| {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::PortPreferences;

    pub(crate) fn sample(name: &str) -> Record {
        let PortPreferences {
            api,
            production,
            test,
            https,
            registry,
            metrics,
        } = PortPreferences::default();
        Record {
            version: RECORD_VERSION,
            name: name.to_owned(),
            engine: EngineKind::Process,
            speed: 1.0,
            created: jiff::Timestamp::UNIX_EPOCH,
            nodes: vec![1, 2, 3],
            resources: NodeResources::default(),
            ports: Ports {
                api,
                production,
                test,
                https,
                registry,
                metrics: Some(metrics),
            },
            network: Network::Loopback { octet: 9 },
            pki: Pki {
                ca_pem: "ca".into(),
                certificate_pem: "certificate".into(),
                key_pem: "key".into(),
            },
            token: "t".into(),
            node_token: "n".into(),
            kubeconfig: None,
            previous_context: None,
        }
    }

    #[test]
    fn a_record_round_trips_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let dir = Home::at(home.path()).cluster("lab");
        dir.save(&sample("lab")).unwrap();
        assert_eq!(dir.load().unwrap(), sample("lab"));
        assert_eq!(
            fs::metadata(dir.record_path())
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600
        );
        assert_eq!(Home::at(home.path()).names(), ["lab"]);
    }

    #[test]
    fn a_damaged_or_newer_record_says_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let dir = Home::at(home.path()).cluster("lab");
        assert!(matches!(dir.load(), Err(RecordError::NotFound { .. })));
        dir.save(&sample("lab")).unwrap();
        fs::write(dir.record_path(), "{\"version\": 1, \"na").unwrap();
        let message = dir.load().unwrap_err().to_string();
        assert!(message.contains("delete --name lab"), "{message}");
        fs::write(dir.record_path(), "{\"version\": 99}").unwrap();
        assert!(matches!(
            dir.load(),
            Err(RecordError::Newer { found: 99, .. })
        ));
        fs::remove_file(dir.record_path()).unwrap();
        assert!(matches!(dir.load(), Err(RecordError::Corrupt { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_start_waits_until_the_first_has_chosen() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::at(place.path());
        let first = home.lock().await.unwrap();
        let second = tokio::time::timeout(Duration::from_secs(1), home.lock()).await;
        assert!(second.is_err(), "both hold the lock");
        drop(first);
        home.lock().await.unwrap();
    }

    #[test]
    fn a_record_of_before_there_were_metrics_and_https_is_still_read() {
        let mut old = serde_json::to_value(sample("lab")).unwrap();
        let ports = old["ports"].as_object_mut().unwrap();
        ports.remove("metrics");
        ports.remove("https");
        let record: Record = serde_json::from_value(old).unwrap();
        let ports: Vec<u16> = record.ports.all().iter().map(|(_, port)| *port).collect();
        assert_eq!(ports, [6443, 8080, 8081, 8443, 5001]);
    }
}
