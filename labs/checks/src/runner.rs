//! Running the checks of a step.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use crate::checks::{self, CheckDef, CheckInput};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::lab::{CheckUse, Hint, Lab, Step};
use crate::outcome::{Outcome, Verdict};

/// Pause before a check looks again: short beside what a person notices.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What came of a step's checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// Name of the lab.
    pub lab: String,
    /// Id of the step.
    pub step: String,
    /// All outcomes taken together.
    pub verdict: Verdict,
    /// Each check, in the order of the lab.
    pub checks: Vec<CheckReport>,
}

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Stable code of the check.
    pub code: &'static str,
    /// Name of the check.
    pub name: String,
    /// Its answer.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Runs the checks of a step, all at once. A step without checks holds: reading it is doing it.
pub async fn run_step(lab: &Lab, step: &Step, context: &CheckContext) -> StepReport {
    let checks = join_all(
        step.checks
            .iter()
            .map(|check| run_check(check, step, context)),
    )
    .await;
    StepReport {
        lab: lab.name.clone(),
        step: step.id.clone(),
        verdict: checks
            .iter()
            .map(|check| check.outcome.verdict())
            .max()
            .unwrap_or(Verdict::Holds),
        checks,
    }
}

async fn run_check(check: &CheckUse, step: &Step, context: &CheckContext) -> CheckReport {
    let name = check.check.clone();
    let Some(def) = checks::find(&name) else {
        let why = Diagnosis::BadParameters {
            check: name.clone(),
            problem: "?".to_owned(),
        };
        return CheckReport {
            code: "K000",
            name,
            outcome: Outcome::CouldNotRun { why },
        };
    };
    let input = CheckInput::of(check, step, &context.addresses);
    let limit = context.limit.max(checks::needs(def, &input));
    let outcome = match timeout(limit, settle(def, &input, context)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(why)) => Outcome::CouldNotRun { why },
        Err(_) => Outcome::CouldNotRun {
            why: Diagnosis::TimedOut {
                seconds: limit.as_secs().to_string(),
            },
        },
    };
    CheckReport {
        code: def.code,
        name,
        outcome,
    }
}

/// Runs a check until it holds, or fails for another reason than that something is on its way,
/// or patience ends.
async fn settle(
    def: &CheckDef,
    input: &CheckInput,
    context: &CheckContext,
) -> Result<Outcome, Diagnosis> {
    let until = Instant::now() + context.patience;
    loop {
        let outcome = (def.run)(context.clone(), input.clone()).await?;
        let on_its_way = outcome.diagnosis().is_some_and(Diagnosis::is_passing);
        if !on_its_way || Instant::now() >= until {
            return Ok(outcome);
        }
        sleep(LOOK_AGAIN).await;
    }
}

impl StepReport {
    /// The hints of a step that fit its present state: those that answer one of its diagnoses
    /// first, then those that fit always. None where nothing is left to do for the learner.
    #[must_use]
    pub fn hints<'a>(&self, step: &'a Step) -> Vec<&'a Hint> {
        if self.verdict != Verdict::NotYet {
            return Vec::new();
        }
        let found: Vec<_> = self.diagnoses().map(Diagnosis::name).collect();
        let answers = |hint: &&Hint| {
            hint.when
                .as_deref()
                .is_some_and(|when| found.contains(&when))
        };
        let always = |hint: &&Hint| hint.when.is_none();
        step.hints
            .iter()
            .filter(answers)
            .chain(step.hints.iter().filter(always))
            .collect()
    }

    /// True where waiting may be all that is needed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.verdict == Verdict::NotYet && self.diagnoses().all(Diagnosis::is_passing)
    }

    fn diagnoses(&self) -> impl Iterator<Item = &Diagnosis> {
        self.checks
            .iter()
            .filter_map(|check| check.outcome.diagnosis())
    }
}

#[cfg(test)]
mod tests;
