//! The runs that are kept: what ran for which commit, and how it ended.
//!
//! ```text
//! PIPELINES/REPOSITORY/NUMBER/run.json   a Run; replaced as a whole whenever something changes
//!                             log        output of its steps, one after the other
//!                             lock       locked by the process that runs it
//! ```

mod store;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use store::{Folder, create, now, reopen, tidy};
pub use store::{
    KEPT, RunsError, latest, latest_of_commit, list, load, log, of_commit, repositories, run_dir,
};

/// Version of `run.json` that this program writes and reads.
pub const RUN_VERSION: u32 = 1;

/// A workflow that ran, or is running, for one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// [`RUN_VERSION`] of the writer.
    pub version: u32,
    /// The repository, without `.git`.
    pub repository: String,
    /// Its number, from 1; unique in the repository.
    pub number: u64,
    /// 1, and one more with every rerun.
    pub attempt: u32,
    /// Name of the workflow; its path where it has none.
    pub workflow: String,
    /// The workflow's file in the repository.
    pub path: String,
    /// What the run is called: `run-name`, or the first line of the commit's message.
    pub title: String,
    /// What started it.
    pub event: Event,
    /// The ref that was pushed, such as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The branch or tag by its short name.
    pub branch: String,
    /// The commit, 40 hexadecimal digits.
    pub commit: String,
    /// The commit that the ref pointed to before; zeros where it is new.
    pub before: String,
    /// Who pushed: the author of the commit.
    pub actor: String,
    /// What was given by hand, as a JSON object.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub inputs: serde_json::Map<String, serde_json::Value>,
    /// When this attempt began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended; `None` while it goes on.
    pub conclusion: Option<Conclusion>,
    /// Why nothing ran, or why it was cut short, where that is not a step's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its jobs in the order in which they run; those of a matrix one by one.
    pub jobs: Vec<Job>,
    /// How earlier attempts ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Attempt>,
}

/// An attempt before the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Which one.
    pub attempt: u32,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
}

/// A job of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its key below `jobs:`; the jobs of a matrix share it.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended; `None` while it waits or goes on.
    pub conclusion: Option<Conclusion>,
    /// Why it was skipped or cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its number in the job, from 1.
    pub number: u32,
    /// Its `id`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is called: `name`, or what it runs.
    pub name: String,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended before `continue-on-error` was applied.
    pub outcome: Option<Conclusion>,
    /// How it ended; `None` while it waits or goes on.
    pub conclusion: Option<Conclusion>,
    /// Exit code of its script, where it ran one to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, where that is not its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What it said with `::error`, `::warning` and `::notice`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub annotations: Vec<Annotation>,
    /// Where its output is in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogRange>,
}

/// Bytes of the log, from `start` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRange {
    /// First byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// Something that a step wants to be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Annotation {
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// Its heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The file that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
}

/// How bad an annotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For information.
    Notice,
    /// Something to look at.
    Warning,
    /// Something wrong.
    Error,
}

/// What started a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A `git push`.
    Push,
    /// By hand.
    WorkflowDispatch,
}

impl Event {
    /// As workflow files name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::WorkflowDispatch => "workflow_dispatch",
        }
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conclusion {
    /// All went well.
    Success,
    /// Something went wrong.
    Failure,
    /// It was stopped before its end.
    Cancelled,
    /// It did not run.
    Skipped,
}

impl Conclusion {
    /// As GitHub writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }
}

impl Run {
    /// True once it ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.conclusion.is_some()
    }

    /// The commit's first seven digits.
    #[must_use]
    pub fn short_commit(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }

    /// How long it took; `None` while it goes on.
    #[must_use]
    pub fn duration(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started))
    }

    /// The first step that failed, with its job.
    #[must_use]
    pub fn failed_step(&self) -> Option<(&Job, &Step)> {
        let failed = |job: &&Job| job.conclusion == Some(Conclusion::Failure);
        let mut jobs = self.jobs.iter().filter(failed);
        jobs.find_map(|job| Some((job, job.failed_step()?)))
    }
}

impl Job {
    /// The first step that failed, other than by its own leave.
    #[must_use]
    pub fn failed_step(&self) -> Option<&Step> {
        let failed = |step: &&Step| step.conclusion == Some(Conclusion::Failure);
        self.steps.iter().find(failed)
    }
}

impl Step {
    /// True where it ran, whatever came of it.
    #[must_use]
    pub fn ran(&self) -> bool {
        matches!(
            self.conclusion,
            Some(Conclusion::Success | Conclusion::Failure)
        ) || self.started.is_some() && self.conclusion != Some(Conclusion::Skipped)
    }

    /// How long it took; `None` while it goes on, or where it did not run.
    #[must_use]
    pub fn duration(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started?))
    }
}
