//! A lab as it is used: structure and prose of both languages together.

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
}

/// A check and its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckUse {
    /// Name of the check.
    pub check: String,
    /// Its parameters; strings may hold `{{registry}}` and the like.
    pub with: Value,
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
