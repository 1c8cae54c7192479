//! How far a learner is: what she has begun, done, answered and been told, kept in a file.
//!
//! A step counts as done once its checks held together. Most stay done when a later step changes
//! what they checked (`activation: edge`); those of `activation: hold` are done only as long as
//! they hold, as far as a check last saw.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::{Activation, Lab, Step};
use crate::library::Labs;
use crate::outcome::Verdict;

mod file;
#[cfg(test)]
mod tests;

pub use file::ProgressError;

/// How far a learner is in every lab that she has touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    labs: BTreeMap<String, LabProgress>,
}

/// How far she is in one lab.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabProgress {
    /// When she began it; none where she never did so by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Timestamp>,
    /// The directory that its files were handed out to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<PathBuf>,
    /// The steps that the lab had when it was last looked at, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// Each step of which there is something to say.
    pub steps: BTreeMap<String, StepProgress>,
}

/// How far she is in one step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepProgress {
    /// When it held first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
    /// Whether it held when a check last looked at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// Her answers, by question.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// The hints that she was shown, by their places in the step, in the order of showing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<usize>,
}

/// How a lab differs from what it was when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabChange {
    /// Name of the lab.
    pub lab: String,
    /// Ids of steps that it did not have.
    pub new: Vec<String>,
    /// Ids of steps that it has no more.
    pub gone: Vec<String>,
}

// === What was noted ===

impl Progress {
    /// What is known of a lab; none where she never touched it.
    #[must_use]
    pub fn lab(&self, name: &str) -> Option<&LabProgress> {
        self.labs.get(name)
    }

    /// What is known of a step.
    #[must_use]
    pub fn step(&self, lab: &str, step: &str) -> Option<&StepProgress> {
        self.lab(lab)?.steps.get(step)
    }

    /// The directory that a lab's files were handed out to.
    #[must_use]
    pub fn workspace(&self, lab: &str) -> Option<&Path> {
        self.lab(lab)?.workspace.as_deref()
    }

    /// The directories that files of any lab were handed out to.
    pub fn workspaces(&self) -> impl Iterator<Item = &Path> {
        self.labs
            .values()
            .filter_map(|lab| lab.workspace.as_deref())
    }

    /// When she began a lab.
    #[must_use]
    pub fn begun(&self, lab: &str) -> Option<Timestamp> {
        self.lab(lab)?.begun
    }

    /// Her answers to the questions of a step, by question.
    #[must_use]
    pub fn answers(&self, lab: &str, step: &str) -> BTreeMap<String, String> {
        self.step(lab, step)
            .map(|step| step.answers.clone())
            .unwrap_or_default()
    }

    /// The hints of a step that she was shown, by their places in it.
    #[must_use]
    pub fn hints(&self, lab: &str, step: &str) -> &[usize] {
        self.step(lab, step).map_or(&[], |step| &step.hints)
    }

    /// True where the step is done: it has held once and, where it must go on holding, it did
    /// when a check last looked.
    #[must_use]
    pub fn is_done(&self, lab: &str, step: &Step) -> bool {
        let Some(known) = self.step(lab, &step.id) else {
            return false;
        };
        match step.activation {
            Activation::Edge => known.done.is_some(),
            Activation::Hold => known.done.is_some() && known.holds != Some(false),
        }
    }

    /// How many steps of a lab are done. Steps that the lab no longer has do not count.
    #[must_use]
    pub fn done_of(&self, lab: &Lab) -> usize {
        lab.steps
            .iter()
            .filter(|step| self.is_done(&lab.name, step))
            .count()
    }

    /// True where something of a lab is done or begun, and something is left.
    #[must_use]
    pub fn is_under_way(&self, lab: &Lab) -> bool {
        let done = self.done_of(lab);
        (done > 0 || self.begun(&lab.name).is_some()) && done < lab.steps.len()
    }

    /// The first step that is not done: of the lab begun last of those under way, else of the
    /// first lab that has one. None where all labs are done.
    #[must_use]
    pub fn next_step<'a>(&self, labs: &'a Labs) -> Option<(&'a Lab, &'a Step)> {
        let under_way = labs.iter().filter(|lab| self.is_under_way(lab));
        let latest = under_way.max_by_key(|lab| self.begun(&lab.name));
        let step_of = |lab: &'a Lab| Some((lab, self.next_step_of(lab)?));
        latest
            .and_then(step_of)
            .or_else(|| labs.iter().find_map(step_of))
    }

    /// The first step of a lab that is not done.
    #[must_use]
    pub fn next_step_of<'a>(&self, lab: &'a Lab) -> Option<&'a Step> {
        lab.steps.iter().find(|step| !self.is_done(&lab.name, step))
    }
}

// === What is to be noted; see `Progress::update` ===

impl Progress {
    fn lab_mut(&mut self, lab: &Lab) -> &mut LabProgress {
        let known = self.labs.entry(lab.name.clone()).or_default();
        if known.known.is_empty() {
            known.known = ids(lab);
        }
        known
    }

    fn step_mut(&mut self, lab: &Lab, step: &str) -> &mut StepProgress {
        let steps = &mut self.lab_mut(lab).steps;
        steps.entry(step.to_owned()).or_default()
    }

    /// She began a lab, in a directory; the first beginning counts, the last directory.
    pub fn begin(&mut self, lab: &Lab, workspace: &Path, now: Timestamp) {
        let known = self.lab_mut(lab);
        known.begun.get_or_insert(now);
        known.workspace = Some(workspace.to_owned());
    }

    /// A check looked at a step. One that could not run says nothing.
    pub fn note(&mut self, lab: &Lab, step: &str, verdict: Verdict, now: Timestamp) {
        match verdict {
            Verdict::Holds => {
                let known = self.step_mut(lab, step);
                known.done.get_or_insert(now);
                known.holds = Some(true);
            }
            Verdict::NotYet => {
                // There is nothing to say of a step that never held.
                let lab = self.labs.get_mut(&lab.name);
                if let Some(known) = lab.and_then(|lab| lab.steps.get_mut(step)) {
                    known.holds = known.done.map(|_| false);
                }
            }
            Verdict::CouldNotRun => {}
        }
    }

    /// She answered a question.
    pub fn answer(&mut self, lab: &Lab, step: &str, question: &str, value: &str) {
        let answers = &mut self.step_mut(lab, step).answers;
        answers.insert(question.to_owned(), value.to_owned());
    }

    /// She was shown a hint of a step, by its place in it.
    pub fn show_hint(&mut self, lab: &Lab, step: &str, hint: usize) {
        let shown = &mut self.step_mut(lab, step).hints;
        if !shown.contains(&hint) {
            shown.push(hint);
        }
    }

    /// Forgets what was done, answered and shown in some steps of a lab, for those who go back to
    /// them.
    pub fn forget_steps<'a>(&mut self, lab: &str, steps: impl IntoIterator<Item = &'a str>) {
        if let Some(known) = self.labs.get_mut(lab) {
            for step in steps {
                known.steps.remove(step);
            }
        }
    }

    /// Forgets a lab, for those who begin it anew. Her files stay where they are, and so does the
    /// memory of where that is.
    pub fn forget_lab(&mut self, lab: &str) {
        if let Some(known) = self.labs.get_mut(lab) {
            let workspace = known.workspace.take();
            *known = LabProgress {
                workspace,
                ..LabProgress::default()
            };
        }
    }

    /// Compares what was known of the labs with what they are now, and remembers the latter: each
    /// change is answered once. What was done in steps that are gone is kept, for the day when
    /// they come back.
    pub fn meet(&mut self, labs: &Labs) -> Vec<LabChange> {
        labs.iter().filter_map(|lab| self.meet_lab(lab)).collect()
    }

    fn meet_lab(&mut self, lab: &Lab) -> Option<LabChange> {
        let known = self.labs.get_mut(&lab.name)?;
        let now = ids(lab);
        if known.known == now {
            return None;
        }
        let is_now = |id: &&String| now.contains(*id);
        // Files of version 1 know only what was done.
        let (new, gone) = if known.known.is_empty() {
            let gone = known.steps.keys().filter(|id| !is_now(id)).cloned();
            (Vec::new(), gone.collect::<Vec<_>>())
        } else {
            let before: BTreeSet<_> = known.known.iter().collect();
            let new = now.iter().filter(|id| !before.contains(id)).cloned();
            let gone = known.known.iter().filter(|id| !is_now(id)).cloned();
            (new.collect(), gone.collect())
        };
        known.known = now;
        let changed = !new.is_empty() || !gone.is_empty();
        changed.then(|| LabChange {
            lab: lab.name.clone(),
            new,
            gone,
        })
    }
}

fn ids(lab: &Lab) -> Vec<String> {
    lab.steps.iter().map(|step| step.id.clone()).collect()
}
