//! What the guide is told of the learner: where she is, and what can be done for her.

use std::path::PathBuf;

use async_trait::async_trait;
use lab_checks::context::Addresses;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Text;
use lab_checks::library::Labs;
use lab_checks::progress::Progress;
use lab_checks::runner::StepReport;

/// Where the learner is.
#[derive(Clone, Debug)]
pub struct Place {
    /// How far she is.
    pub progress: Progress,
    /// Where her cluster is reached; the preferred addresses where there is none yet.
    pub addresses: Addresses,
}

/// What came of beginning a lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    /// Where the lab's files are.
    pub workspace: PathBuf,
    /// Those that were handed out now.
    pub files: Vec<String>,
    /// The command that brings the cluster to where the lab begins, where it is not there.
    pub goto: Option<String>,
}

/// What an answer is worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// None where it cannot be said yet.
    pub right: Option<bool>,
    /// Why.
    pub why: Option<Text>,
}

/// A failure in words for the learner.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(pub String);

/// Checks, hints and answers, as the command line has them.
#[async_trait]
pub trait Tutor: Send + Sync + 'static {
    /// The labs there are.
    fn labs(&self) -> &Labs;

    /// Where she is now.
    ///
    /// # Errors
    /// Where her progress cannot be read.
    fn place(&self) -> Result<Place, Failed>;

    /// Checks a step and notes what was found; none where there is no cluster to look at.
    ///
    /// # Errors
    /// Where progress cannot be kept.
    async fn examine(&self, lab: &Lab, step: &Step) -> Result<Option<StepReport>, Failed>;

    /// Waits until it is worth while to look again. `steps` are those that are being looked at.
    async fn changed(&self, steps: &[&Step]);

    /// Hands out the files of a lab, and notes that it was begun.
    ///
    /// # Errors
    /// Where they cannot be written.
    async fn begin(&self, lab: &Lab) -> Result<Begun, Failed>;

    /// Reveals one more hint of a step; answers how many are left.
    ///
    /// # Errors
    /// Where progress cannot be kept.
    async fn hint(&self, lab: &Lab, step: &Step) -> Result<usize, Failed>;

    /// Keeps an answer and judges it.
    ///
    /// # Errors
    /// Where it is no answer to this question, or progress cannot be kept.
    async fn answer(
        &self,
        lab: &Lab,
        step: &Step,
        question: &str,
        value: &str,
    ) -> Result<Judged, Failed>;
}
