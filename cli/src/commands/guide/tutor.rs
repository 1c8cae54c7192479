//! What the guide asks of the learner, answered by the same code as the commands `check`, `hint`,
//! `answer` and `lab next`.

use std::time::Duration;

use async_trait::async_trait;
use lab_checks::answers::Judgement;
use lab_checks::lab::{Lab, Step};
use lab_checks::library::Labs;
use lab_checks::runner::StepReport;
use lab_classroom::protocol::What;
use lab_cluster::record::{Home, Record};
use lab_guide::tutor::{Begun, Failed, Judged, Place, Tutor};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::class::{self, Shared};
use crate::commands::check::watch::{NAMESPACE, TIMED_PAUSE, is_timed, places};
use crate::commands::lab::{Learner, begin, command_line, is_at_beginning};
use crate::commands::{answer, check, hint};
use crate::labs::changes::{Changes, Places};

/// Pause between two looks for a cluster that is not there yet.
const LOOK: Duration = Duration::from_secs(1);

/// The learner at whose cluster this command was typed.
pub(super) struct CommandLineTutor {
    learner: Learner,
    /// What tells of changes, and the cluster that it watches.
    changes: Mutex<Option<(Record, Places, Changes)>>,
    /// What the class knows.
    shared: Mutex<Shared>,
}

impl CommandLineTutor {
    pub(super) fn new(learner: Learner) -> Self {
        Self {
            learner,
            changes: Mutex::new(None),
            shared: Mutex::default(),
        }
    }

    /// She as she is now: other commands move her on too.
    fn learner(&self) -> Result<Learner, Failed> {
        self.learner.again().map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn failed(error: anyhow::Error) -> Failed {
    Failed(format!("{error:#}"))
}

#[async_trait]
impl Tutor for CommandLineTutor {
    fn labs(&self) -> &Labs {
        &self.learner.labs
    }

    fn place(&self) -> Result<Place, Failed> {
        let learner = self.learner()?;
        Ok(Place {
            addresses: learner.addresses(),
            progress: learner.progress,
        })
    }

    async fn examine(&self, lab: &Lab, step: &Step) -> Result<Option<StepReport>, Failed> {
        let mut learner = self.learner()?;
        let Some(record) = learner.record.clone() else {
            return Ok(None);
        };
        let mut shared = self.shared.lock().await;
        let reports = check::examine(&mut learner, &record, lab, &[step], &mut shared).await;
        Ok(reports.map_err(failed)?.into_iter().next())
    }

    async fn changed(&self, steps: &[&Step]) {
        let mut changes = self.changes.lock().await;
        let learner = self.learner().ok();
        let record = learner.as_ref().and_then(|learner| learner.record.clone());
        let (Some(learner), Some(record)) = (learner, record) else {
            *changes = None;
            return sleep(LOOK).await;
        };
        let places = places(&learner);
        let fits = |(of, at, _): &(Record, Places, Changes)| *of == record && *at == places;
        if !changes.as_ref().is_some_and(fits) {
            let watched = Changes::of(&record, NAMESPACE, places.clone());
            *changes = watched.ok().map(|watched| (record, places, watched));
        }
        let Some((_, _, changes)) = changes.as_mut() else {
            return sleep(LOOK).await;
        };
        tokio::select! {
            () = changes.next() => {}
            () = sleep(TIMED_PAUSE), if is_timed(steps) => {}
        }
    }

    async fn begin(&self, lab: &Lab) -> Result<Begun, Failed> {
        let mut learner = self.learner()?;
        if learner.record.is_none() {
            return Err(Failed(format!(
                "{}: {}",
                learner.say("there is no cluster yet", "il n’y a pas encore de cluster"),
                command_line(&learner.name, "start 3")
            )));
        }
        if let (Ok(home), Some(step)) = (
            Home::from_env(),
            learner.progress.next_step_of(lab).or(lab.steps.first()),
        ) {
            let (lab, step) = (lab.name.clone(), step.id.clone());
            class::share(&home, What::Opened { lab, step });
        }
        let (workspace, files) = begin(&mut learner, lab).await.map_err(failed)?;
        // Only before its first step: those that are done have changed it since.
        let is_new = learner.progress.done_of(lab) == 0;
        let there = !is_new || is_at_beginning(&learner, lab).await.map_err(failed)?;
        let goto = format!("lab goto {}", lab.name);
        Ok(Begun {
            workspace,
            files,
            goto: (!there).then(|| command_line(&learner.name, &goto)),
        })
    }

    async fn hint(&self, lab: &Lab, step: &Step) -> Result<usize, Failed> {
        let mut learner = self.learner()?;
        let (_, choice) = hint::reveal(&mut learner, lab, step, false)
            .await
            .map_err(failed)?;
        Ok(choice.left())
    }

    async fn answer(
        &self,
        lab: &Lab,
        step: &Step,
        question: &str,
        value: &str,
    ) -> Result<Judged, Failed> {
        let mut learner = self.learner()?;
        let mut questions = step.questions.iter();
        let Some(question) = questions.find(|it| it.id == question) else {
            return Err(Failed(format!("the step {} does not ask this", step.id)));
        };
        if question.judge(value, |_| None) == Judgement::NoNumber {
            let text = learner.say("A number is asked for.", "Il faut donner un nombre.");
            return Err(Failed(text.to_owned()));
        }
        let told = answer::judge(&mut learner, lab, step, question, value).await;
        let answer::Told { right, why } = told.map_err(failed)?;
        Ok(Judged { right, why })
    }
}
