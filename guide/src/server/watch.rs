//! Looks at the labs that pages show, whenever something changes, and goes on to the next step
//! once one holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab_checks::lab::{Lab, Step};
use lab_checks::outcome::Verdict;
use lab_checks::runner::StepReport;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use crate::lesson::{State, list};
use crate::tutor::{Failed, Tutor};

/// The learner's desk: what she looks at, and what was found there last.
pub(super) struct Desk {
    tutor: Arc<dyn Tutor>,
    /// How many pages show a lab.
    shown: Mutex<BTreeMap<String, usize>>,
    /// What was found last of each lab's next step.
    reports: Mutex<BTreeMap<String, StepReport>>,
    /// There is something to look at before anything changes in the cluster.
    again: Notify,
    /// Grows whenever something may be new.
    news: watch::Sender<u64>,
}

impl Desk {
    pub(super) fn new(tutor: Arc<dyn Tutor>) -> Arc<Self> {
        Arc::new(Self {
            tutor,
            shown: Mutex::default(),
            reports: Mutex::default(),
            again: Notify::new(),
            news: watch::Sender::new(0),
        })
    }

    pub(super) fn tutor(&self) -> &dyn Tutor {
        &*self.tutor
    }

    /// Tells when something may be new.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// Has the steps looked at now.
    pub(super) fn look_again(&self) {
        self.again.notify_one();
    }

    /// A page shows a lab from now on, until what this answers is dropped.
    pub(super) fn show(self: &Arc<Self>, lab: &str) -> Shown {
        *lock(&self.shown).entry(lab.to_owned()).or_default() += 1;
        self.look_again();
        Shown {
            desk: Arc::clone(self),
            lab: lab.to_owned(),
        }
    }

    /// How far a lab is.
    pub(super) fn state(&self, lab: &Lab) -> Result<State, Failed> {
        let place = self.tutor.place()?;
        let report = lock(&self.reports).get(&lab.name).cloned();
        Ok(State::of(
            lab,
            &place.progress,
            report.as_ref(),
            &place.addresses,
        ))
    }

    /// The labs, and where she is.
    pub(super) fn labs(&self) -> Result<Value, Failed> {
        let (labs, place) = (self.tutor.labs(), self.tutor.place()?);
        let next = place.progress.next_step(labs);
        Ok(json!({
            "labs": list(labs, &place.progress),
            "next": next.map(|(lab, _)| lab.name.clone()),
        }))
    }

    /// Looks for as long as it is let.
    pub(super) async fn run(&self) {
        loop {
            let labs: Vec<String> = lock(&self.shown).keys().cloned().collect();
            if labs.is_empty() {
                self.again.notified().await;
                continue;
            }
            let mut looked = Vec::new();
            for lab in labs.iter().filter_map(|lab| self.tutor.labs().get(lab)) {
                match self.look(lab).await {
                    Ok(step) => looked.extend(step),
                    Err(failed) => tracing::warn!(%failed, lab = lab.name, "not checked"),
                }
            }
            self.news.send_modify(|number| *number += 1);
            tokio::select! {
                () = self.tutor.changed(&looked) => {}
                () = self.again.notified() => {}
            }
        }
    }

    /// Looks at a lab's next step, and at those after it as long as they hold; answers the one
    /// that does not.
    async fn look<'a>(&self, lab: &'a Lab) -> Result<Option<&'a Step>, Failed> {
        // Each turn takes one step off, so this ends.
        for _ in &lab.steps {
            let place = self.tutor.place()?;
            let Some(step) = place.progress.next_step_of(lab) else {
                return Ok(None);
            };
            let report = self.tutor.examine(lab, step).await?;
            let holds = report
                .as_ref()
                .is_some_and(|report| report.verdict == Verdict::Holds);
            match report {
                Some(report) => lock(&self.reports).insert(lab.name.clone(), report),
                None => lock(&self.reports).remove(&lab.name),
            };
            if !holds {
                return Ok(Some(step));
            }
            self.news.send_modify(|number| *number += 1);
        }
        Ok(None)
    }
}

/// A page that shows a lab.
pub(super) struct Shown {
    desk: Arc<Desk>,
    lab: String,
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut shown = lock(&self.desk.shown);
        if let Some(count) = shown.get_mut(&self.lab) {
            *count -= 1;
            if *count == 0 {
                shown.remove(&self.lab);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
