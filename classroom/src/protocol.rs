//! What a student's machine and the class server say to each other, as JSON over HTTP.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `POST /api/join` | [`Join`] | [`Joined`] |
//! | `POST /api/events` | [`Batch`] | [`Receipt`] |
//! | `GET /api/orders?after=N&wait=S` | – | [`Orders`], at once where there are some |
//! | `POST /api/leave` | – | – |
//!
//! All but the first carry the student's token as `Authorization: Bearer`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lab_checks::language::Text;
use serde::{Deserialize, Serialize};

/// Most events of one request: what an hour offline leaves behind fits into a few.
pub const BATCH_MAX: usize = 200;
/// Most bytes of a request's body.
pub const BODY_MAX: usize = 256 * 1024;
/// Most characters of a name.
pub const NAME_MAX: usize = 60;
/// Most characters of a note or a message.
pub const NOTE_MAX: usize = 500;

/// A student asks to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Join {
    /// The code that the teacher shows.
    pub code: String,
    /// Her name, as she wants to be called.
    pub name: String,
    /// Made up by her machine once, so that joining again is no second student.
    pub client: String,
    /// The version of her program.
    pub version: String,
}

/// She has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Her number in the class.
    pub student: u64,
    /// Proves who she is from now on.
    pub token: String,
    /// The title of the class.
    pub class: String,
    /// The version of the server's program.
    pub version: String,
}

/// Events, in the order of their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// At most [`BATCH_MAX`].
    pub events: Vec<Event>,
}

/// Up to where events are kept for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The greatest number up to which every event is kept.
    pub acknowledged: u64,
}

/// Something that happened on a student's machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts her events from 1, without gaps; the same number is the same event.
    pub number: u64,
    /// When, by her machine's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened. This is all that is ever shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum What {
    /// She opened a step.
    Opened {
        /// Name of the lab.
        lab: String,
        /// Id of the step.
        step: String,
    },
    /// She had a step checked.
    Checked {
        /// Name of the lab.
        lab: String,
        /// Id of the step.
        step: String,
        /// What came of it.
        verdict: Verdict,
        /// The first cause, where it does not hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diagnosis: Option<Cause>,
    },
    /// She asked for a hint.
    Hinted {
        /// Name of the lab.
        lab: String,
        /// Id of the step.
        step: String,
        /// How many she has seen now.
        seen: u32,
    },
    /// She raised her hand.
    HandRaised {
        /// Name of the lab that she is at.
        #[serde(default)]
        lab: String,
        /// Id of the step.
        #[serde(default)]
        step: String,
        /// What the last check said, where it did not hold.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        diagnosis: Option<Cause>,
        /// What she says; may be empty.
        #[serde(default)]
        note: String,
    },
    /// She lowered it.
    HandLowered {},
    /// The result of `devops-lab doctor`.
    Doctor {
        /// Finding by name: `ok`, `warn` or `fail`, and a word about it.
        findings: BTreeMap<String, Finding>,
    },
    /// Whether the teacher may break things on her cluster.
    Faults {
        /// True where she agreed.
        agreed: bool,
    },
    /// A fault that the teacher injected, and how long her application took to recover.
    Recovered {
        /// Number of the order.
        order: u64,
        /// Name of the fault.
        fault: String,
        /// Seconds; none where it has not recovered.
        seconds: Option<u64>,
    },
    /// She left the class.
    Left {},
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not yet.
    NotYet,
    /// The check itself could not run.
    CouldNotRun,
}

/// Why something does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Id of the diagnosis.
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub text: Text,
}

/// A finding of `devops-lab doctor`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// In words.
    pub text: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// All is well.
    Ok,
    /// Something will be missing.
    Warn,
    /// It will not work.
    Fail,
}

/// What the teacher wants of students' machines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// In the order of their numbers.
    pub orders: Vec<Order>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Counts the orders of the class.
    pub number: u64,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub wish: Wish,
}

/// What a teacher wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "wish",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Wish {
    /// Something to read.
    Message {
        /// In her own words.
        text: String,
    },
    /// The whole class goes to a step.
    Point {
        /// Name of the lab.
        lab: String,
        /// Id of the step.
        step: String,
    },
    /// The labs that are open; all where the list is empty.
    Labs {
        /// Names.
        open: Vec<String>,
    },
    /// A teacher is on her way to a raised hand.
    HandTaken {
        /// Which teacher.
        by: String,
    },
    /// The hand's matter is settled.
    HandClosed {},
    /// Break something, where the student agreed to it.
    Fault {
        /// Name of the fault.
        fault: String,
        /// What it hits; chosen by chance where empty.
        #[serde(default)]
        target: String,
    },
}

impl What {
    /// The step that it is about, if any.
    #[must_use]
    pub fn place(&self) -> Option<(&str, &str)> {
        match self {
            Self::Opened { lab, step }
            | Self::Checked { lab, step, .. }
            | Self::Hinted { lab, step, .. }
            | Self::HandRaised { lab, step, .. } => Some((lab, step)),
            Self::HandLowered {}
            | Self::Doctor { .. }
            | Self::Faults { .. }
            | Self::Recovered { .. }
            | Self::Left {} => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_it_is_written() {
        let text = r#"{"number":3,"at":"2026-01-02T03:04:05Z","kind":"checked","lab":"canary","step":"roll-out","verdict":"not-yet","diagnosis":{"id":"weights-swapped","en":"swapped","fr":"inversés"}}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(event.what.place(), Some(("canary", "roll-out")));
        assert_eq!(serde_json::to_string(&event).unwrap(), text);
    }

    #[test]
    fn an_event_of_a_newer_program_is_an_error_and_no_panic() {
        let text = r#"{"number":3,"at":"2026-01-02T03:04:05Z","kind":"flew"}"#;
        let error = serde_json::from_str::<Event>(text).unwrap_err();
        assert!(error.to_string().contains("flew"), "{error}");
    }
}
