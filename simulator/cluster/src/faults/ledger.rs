//! What was injected and not healed yet: `faults.json` of the cluster's directory.

use std::path::PathBuf;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::{ClusterDir, write_atomically};

/// One fault that was injected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Injection {
    /// Number within the cluster, from 1.
    pub id: u32,
    /// Name of the fault.
    pub fault: String,
    /// What it was done to.
    pub target: String,
    /// What was done, in words.
    pub did: String,
    /// How it is healed, in words.
    pub heal: String,
    /// When.
    pub at: Timestamp,
    /// True where it is not to be named until it is revealed.
    pub hidden: bool,
    /// True where the cluster heals it by itself.
    pub passing: bool,
    /// What healing needs to know.
    #[serde(default)]
    pub undo: Value,
}

/// The list on disk.
pub struct Ledger(PathBuf);

impl Ledger {
    /// Of a cluster.
    #[must_use]
    pub fn of(dir: &ClusterDir) -> Self {
        Self(dir.join("faults.json"))
    }

    /// Everything on it, oldest first.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn entries(&self) -> anyhow::Result<Vec<Injection>> {
        let failed = || format!("failed to read {}", self.0.display());
        match std::fs::read(&self.0) {
            Ok(text) => serde_json::from_slice(&text).with_context(failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(failed),
        }
    }

    /// Writes one more down, under the next number.
    pub(super) fn add(&self, mut injection: Injection) -> anyhow::Result<Injection> {
        let mut entries = self.entries()?;
        let last = entries.iter().map(|entry| entry.id).max();
        injection.id = last.unwrap_or(0) + 1;
        entries.push(injection.clone());
        self.write(&entries)?;
        Ok(injection)
    }

    /// Takes one off.
    pub(super) fn strike(&self, id: u32) -> anyhow::Result<()> {
        let mut entries = self.entries()?;
        entries.retain(|entry| entry.id != id);
        self.write(&entries)
    }

    fn write(&self, entries: &[Injection]) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(entries)?;
        // What undoes a fault may be a key: only the owner may look.
        write_atomically(&self.0, &text, 0o600)
            .with_context(|| format!("failed to write {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Home;

    fn injection(fault: &str) -> Injection {
        Injection {
            id: 0,
            fault: fault.to_owned(),
            target: "node-1".to_owned(),
            did: String::new(),
            heal: String::new(),
            at: Timestamp::UNIX_EPOCH,
            hidden: false,
            passing: false,
            undo: Value::Null,
        }
    }

    #[test]
    fn what_was_injected_is_there_after_a_restart_until_it_is_healed() {
        let home = tempfile::tempdir().unwrap();
        let dir = Home::at(home.path()).cluster("lab");
        std::fs::create_dir_all(dir.path()).unwrap();
        assert!(Ledger::of(&dir).entries().unwrap().is_empty());
        assert_eq!(Ledger::of(&dir).add(injection("a")).unwrap().id, 1);
        assert_eq!(Ledger::of(&dir).add(injection("b")).unwrap().id, 2);
        Ledger::of(&dir).strike(1).unwrap();
        let left = Ledger::of(&dir).entries().unwrap();
        assert_eq!((left.len(), left[0].fault.as_str()), (1, "b"));
    }
}
