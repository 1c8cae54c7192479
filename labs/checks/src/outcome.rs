//! What a check answers: three outcomes, kept apart.

use jiff::Timestamp;
use serde::Serialize;

use crate::diagnosis::Diagnosis;
use crate::fact::Fact;

/// The answer of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The state shows what the step asks for.
    Holds {
        /// What was looked at.
        evidence: Evidence,
    },
    /// It does not yet: there is something to do for the learner.
    NotYet {
        /// What was looked at.
        evidence: Evidence,
        /// The likeliest cause.
        diagnosis: Diagnosis,
    },
    /// Nothing can be said, because the check itself failed: the API does not answer, a time
    /// limit passed. It is no statement about the learner's work.
    CouldNotRun {
        /// Why.
        why: Diagnosis,
    },
}

/// What a check compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What the step asks for.
    pub expected: Fact,
    /// What is.
    pub observed: Fact,
    /// Since when it is so, where the cluster tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl Evidence {
    /// How long it has been so, as kubectl prints ages.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Option<String> {
        self.since.map(|since| lab_api::age::age(Some(since), now))
    }
}

impl Outcome {
    /// From the evidence and what a search for faults found.
    pub(crate) fn of(evidence: Evidence, found: Result<(), Diagnosis>) -> Self {
        match found {
            Ok(()) => Self::Holds { evidence },
            Err(diagnosis) => Self::NotYet {
                evidence,
                diagnosis,
            },
        }
    }

    /// The outcome in a word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Holds { .. } => Verdict::Holds,
            Self::NotYet { .. } => Verdict::NotYet,
            Self::CouldNotRun { .. } => Verdict::CouldNotRun,
        }
    }

    /// The cause, where something is not as it should be.
    #[must_use]
    pub fn diagnosis(&self) -> Option<&Diagnosis> {
        match self {
            Self::Holds { .. } => None,
            Self::NotYet { diagnosis, .. } => Some(diagnosis),
            Self::CouldNotRun { why } => Some(why),
        }
    }
}

/// An outcome without its reasons. Ordered: of several, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// See [`Outcome::Holds`].
    Holds,
    /// See [`Outcome::NotYet`].
    NotYet,
    /// See [`Outcome::CouldNotRun`].
    CouldNotRun,
}
