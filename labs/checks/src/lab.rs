//! A lab as it is used: structure and prose of both languages together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::language::Text;

/// A lab.
#[derive(Clone, Debug, PartialEq)]
pub struct Lab {
    /// Name of its folder, such as `04-deploy-three-replicas`; labs are ordered by it.
    pub folder: String,
    /// Its id, by which people and progress refer to it.
    pub name: String,
    /// Title.
    pub title: Text,
    /// How long it takes, in minutes.
    pub minutes: u16,
    /// Labs to do before.
    pub prerequisites: Vec<String>,
    /// The sample application whose files the learner works on.
    pub app: Option<String>,
    /// Later versions of it that are handed out too, below `APP/versions`.
    pub versions: Vec<String>,
    /// What must hold for the lab to begin; `start.sh` brings it about.
    pub start: Vec<CheckUse>,
    /// Prose before the first step, in Markdown.
    pub intro: Text,
    /// Its steps, in order; at least one.
    pub steps: Vec<Step>,
    /// Prose after the last step, in Markdown; may be empty.
    pub ending: Text,
    /// Mistakes that learners make, each with the diagnosis that it must get.
    pub mistakes: Vec<Mistake>,
}

impl Lab {
    /// The step of this id.
    #[must_use]
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}

/// A step of a lab.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its id, unique in the lab.
    pub id: String,
    /// Heading.
    pub heading: Text,
    /// What to do, in Markdown, without the heading.
    pub prose: Text,
    /// What must hold.
    pub checks: Vec<CheckUse>,
    /// Hints, rising.
    pub hints: Vec<Hint>,
    /// True where it may hold before the learner does anything, as where she only looks around.
    pub given: bool,
    /// Whether it stays done once it held.
    pub activation: Activation,
    /// What she is asked.
    pub questions: Vec<Question>,
}

/// Whether a step stays done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Once it held, it is done, whatever a later step does to it.
    #[default]
    Edge,
    /// It is done as long as it holds.
    Hold,
}

/// A question of a step, which the check `answered` looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Its id, unique in the step.
    pub id: String,
    /// What is asked, in Markdown.
    pub ask: Text,
    /// What counts as an answer.
    pub answer: Answer,
}

/// What counts as the answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// One of several.
    Choice(Vec<Choice>),
    /// A number.
    Number {
        /// The right one.
        value: f64,
        /// By how much it may be off.
        within: f64,
    },
    /// Words; each of these forms will do, case and space around them aside.
    Text(Vec<String>),
    /// A number that is read from the record of the learner's own traffic.
    Recorded {
        /// Which one.
        figure: Figure,
        /// By how much it may be off, in per cent of it.
        within_percent: f64,
    },
}

/// An answer to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What it says.
    pub text: Text,
    /// True where it is right.
    pub correct: bool,
    /// Why it is right or wrong, said once it was chosen.
    pub why: Text,
}

/// A figure of the record of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    /// How many requests failed.
    Failures,
    /// Which share of them succeeded, in per cent.
    Availability,
    /// Seconds from the first failure to the last.
    OutageSeconds,
}

/// A check and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckUse {
    /// Name of the check.
    pub check: String,
    /// Its parameters; strings may hold `{{registry}}` and the like.
    pub with: Value,
    /// Causes that the lab knows by itself, for checks that look at a value; the first whose
    /// condition holds is named.
    pub causes: Vec<Cause>,
}

/// A cause that a lab names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its id, as diagnoses have one.
    pub id: String,
    /// When it is the cause: an expression of the Common Expression Language over what the check
    /// looked at; none where nothing else was named.
    pub when: Option<String>,
    /// What it says.
    pub text: Text,
    /// The command that shows more.
    pub look: Option<String>,
}

/// A hint.
#[derive(Clone, Debug, PartialEq)]
pub struct Hint {
    /// What it says, in Markdown.
    pub text: Text,
    /// Id of the diagnosis that it answers; without one it fits always.
    pub when: Option<String>,
}

/// A mistake to be made on purpose, by those who test the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Name of its script, `mistakes/ID.sh`.
    pub id: String,
    /// The step that it spoils, made after the solutions of the steps before.
    pub step: String,
    /// Id of the diagnosis that the step's check must then give.
    pub diagnosis: String,
}
