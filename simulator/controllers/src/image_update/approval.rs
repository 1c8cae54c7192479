//! Updates that wait for people.
//!
//! An update that needs approvals is written to the annotation `keel.sh/pending` of its workload.
//! It is approved with `keel.sh/approve: "TAG"`, or `"TAG: ada, bob"` where more than one is asked
//! for, and turned down with `keel.sh/reject: "TAG"`. `devops-lab image approve` does the same.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Holds the update that waits.
pub(super) const PENDING: &str = "keel.sh/pending";
/// Approves it.
pub(super) const APPROVE: &str = "keel.sh/approve";
/// Turns it down.
pub(super) const REJECT: &str = "keel.sh/reject";

/// An update that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    /// Repository with its registry.
    pub(super) image: String,
    pub(super) tag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<String>,
    pub(super) required: usize,
    pub(super) deadline: Timestamp,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Waits,
    Approved,
    Rejected,
    Expired,
}

impl Pending {
    pub(super) fn read(annotations: &BTreeMap<String, String>) -> Option<Self> {
        serde_json::from_str(annotations.get(PENDING)?).ok()
    }

    pub(super) fn fate(&self, annotations: &BTreeMap<String, String>, now: Timestamp) -> Fate {
        let rejected = annotations
            .get(REJECT)
            .is_some_and(|tag| tag.trim() == self.tag);
        if rejected {
            Fate::Rejected
        } else if self.approvals(annotations) >= self.required {
            Fate::Approved
        } else if now >= self.deadline {
            Fate::Expired
        } else {
            Fate::Waits
        }
    }

    fn approvals(&self, annotations: &BTreeMap<String, String>) -> usize {
        let Some(text) = annotations.get(APPROVE) else {
            return 0;
        };
        let (tag, names) = match text.split_once(':') {
            Some((tag, names)) => (tag, Some(names)),
            None => (text.as_str(), None),
        };
        if tag.trim() != self.tag {
            return 0;
        }
        let Some(names) = names else { return 1 };
        let names: BTreeSet<_> = names.split(',').map(str::trim).collect();
        names.iter().filter(|name| !name.is_empty()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_waits_for_its_approvals_until_its_deadline() {
        let pending = Pending {
            image: "localhost:5001/hello".into(),
            tag: "1.0.1".into(),
            digest: None,
            required: 2,
            deadline: Timestamp::from_second(100).unwrap(),
        };
        let fate = |key: &str, value: &str, now| {
            let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            pending.fate(&annotations, Timestamp::from_second(now).unwrap())
        };
        assert_eq!(fate(APPROVE, "1.0.1", 0), Fate::Waits);
        assert_eq!(fate(APPROVE, "1.0.1: ada, bob", 0), Fate::Approved);
        assert_eq!(fate(APPROVE, "1.0.1: ada, ada", 0), Fate::Waits);
        assert_eq!(fate(APPROVE, "1.0.2: ada, bob", 0), Fate::Waits);
        assert_eq!(fate(REJECT, "1.0.1", 0), Fate::Rejected);
        assert_eq!(fate(APPROVE, "1.0.1", 100), Fate::Expired);
    }
}
