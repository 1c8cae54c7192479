//! What a node writes down about its sandboxes and containers, so that its next life can list
//! what the last one left behind.
//!
//! Files are replaced as a whole and not forced to the disk: after a power cut everything that
//! they describe is dead anyway, and one that cannot be read is treated as remains to clear
//! away.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::group::Leader;
use crate::{ContainerState, SandboxConfig};

/// A sandbox, in `sandbox.json` of its directory.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct SandboxRecord {
    /// What it was made from.
    pub(super) config: SandboxConfig,
    /// Its address.
    pub(super) ip: Ipv4Addr,
}

/// A container, in `container.json` of its directory.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct ContainerRecord {
    /// Its id.
    pub(super) id: String,
    /// Place in the order of creation within the sandbox.
    pub(super) number: u64,
    /// Name within the pod.
    pub(super) name: String,
    /// Restart count at creation.
    pub(super) attempt: u32,
    /// Image reference it was made from.
    pub(super) image: String,
    /// Image digest.
    pub(super) image_id: String,
    /// Its state when this was written.
    pub(super) state: ContainerState,
    /// Its first process, where it was started.
    pub(super) leader: Option<Leader>,
}

/// Where things lie in the directory of one node.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    state_dir: PathBuf,
}

impl Layout {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir }
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.state_dir.join("lock")
    }

    pub(super) fn sandboxes(&self) -> PathBuf {
        self.state_dir.join("sandboxes")
    }

    pub(super) fn sandbox(&self, sandbox: &str) -> PathBuf {
        self.sandboxes().join(sandbox)
    }

    pub(super) fn sandbox_record(&self, sandbox: &str) -> PathBuf {
        self.sandbox(sandbox).join("sandbox.json")
    }

    /// Scratch directories that the containers of a sandbox share.
    pub(super) fn shared(&self, sandbox: &str) -> PathBuf {
        self.sandbox(sandbox).join("shared")
    }

    pub(super) fn containers(&self, sandbox: &str) -> PathBuf {
        self.sandbox(sandbox).join("containers")
    }

    pub(super) fn container(&self, sandbox: &str, name: &str, attempt: u32) -> PathBuf {
        self.containers(sandbox).join(format!("{name}-{attempt}"))
    }

    pub(super) fn container_record(container: &Path) -> PathBuf {
        container.join("container.json")
    }

    pub(super) fn all_logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    pub(super) fn logs(&self, sandbox: &str) -> PathBuf {
        self.all_logs().join(sandbox)
    }

    pub(super) fn log(&self, sandbox: &str, name: &str, attempt: u32) -> PathBuf {
        self.logs(sandbox).join(format!("{name}-{attempt}.log"))
    }
}

/// Replaces the file as a whole; only its owner may read it, since it may hold a pod's secrets.
pub(super) fn write<T: Serialize + ?Sized>(path: &Path, value: &T) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o600);
    io::Write::write_all(&mut options.open(&fresh)?, &serde_json::to_vec(value)?)?;
    fs::rename(fresh, path)
}

/// Reads what [`write`] wrote; `None` where it is missing or damaged.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = fs::read(path).ok()?;
    serde_json::from_slice(&bytes)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "a damaged record is ignored"),
        )
        .ok()
}
