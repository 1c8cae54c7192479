//! Going through a lab by its own scripts: to the beginning of a step, or on from where the
//! learner is.
//!
//! What is done by a script is looked at by the checks of its step, as if a learner had done it,
//! and noted in her progress; so whoever is brought somewhere goes on from there like everybody
//! else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use lab_checks::lab::{Lab, Step};
use lab_checks::library::Labs;
use lab_checks::outcome::Verdict;
use lab_checks::progress::Progress;
use lab_checks::runner::StepReport;
use lab_cluster::provider;
use lab_cluster::record::{ClusterDir, Home, Record};
use tokio::time::{Instant, sleep};

use super::scripts::{Kubectl, Scripts};
use super::snapshot::{Snapshots, Subject};
use super::workspace;
use crate::commands::check::check;
use crate::commands::lab::{addresses, progress_path};

/// How long a check may take to hold after its step's solution: what was begun has to settle.
pub(crate) const SETTLES: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A learner's desk, and the scripts that work on it.
pub(crate) struct Journey<'a> {
    labs: &'a Labs,
    home: &'a Home,
    dir: &'a ClusterDir,
    record: Record,
    /// What of the directory is the labs'; none where all of it is.
    names: Option<BTreeSet<String>>,
    scripts: Scripts,
}

/// Told what is done, for people who wait.
pub(crate) trait Narrator {
    /// A lab's own start.
    fn start(&self, lab: &Lab);
    /// A step is being done by its solution, where it has one.
    fn doing(&self, lab: &Lab, step: &Step, script: Option<&str>);
    /// It holds, after this long.
    fn done(&self, lab: &Lab, step: &Step, report: &StepReport, took: Duration);
}

impl<'a> Journey<'a> {
    /// In a cluster that runs, with a learner's directory.
    ///
    /// # Errors
    /// Where scripts cannot be run here.
    pub(crate) fn new(
        labs: &'a Labs,
        home: &'a Home,
        dir: &'a ClusterDir,
        workspace: &Path,
    ) -> anyhow::Result<Self> {
        let record = dir.load()?;
        let scripts = Scripts::new(home, dir, &record, workspace, Kubectl::Machine)?;
        Ok(Self {
            labs,
            home,
            dir,
            record,
            names: Some(workspace::names(labs)),
            scripts,
        })
    }

    /// In a cluster and a directory in which there is nothing else.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn alone(
        labs: &'a Labs,
        home: &'a Home,
        dir: &'a ClusterDir,
        workspace: &Path,
        kubectl: Kubectl,
    ) -> anyhow::Result<Self> {
        let record = dir.load()?;
        Ok(Self {
            labs,
            home,
            dir,
            scripts: Scripts::new(home, dir, &record, workspace, kubectl)?,
            record,
            names: None,
        })
    }

    /// What snapshots are about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        Subject {
            home: self.home,
            dir: self.dir,
            workspace: self.scripts.workspace(),
            names: self.names.as_ref(),
        }
    }

    /// The learner's directory.
    pub(crate) fn workspace(&self) -> &Path {
        self.scripts.workspace()
    }

    /// Where what is displaced now goes.
    pub(crate) fn backup(&self) -> PathBuf {
        let now = jiff::Zoned::now()
            .strftime("backup-%Y%m%d-%H%M%S")
            .to_string();
        self.workspace().join(".devops-lab").join(now)
    }

    fn progress(&self) -> anyhow::Result<Progress> {
        Ok(Progress::load(&progress_path(self.dir))?)
    }

    /// Brings everything to the beginning of a lab, or of one of its steps, whatever there was.
    ///
    /// # Errors
    /// Where a script fails or a check does not hold after it: a fault of the lab.
    pub(crate) async fn go_to(
        &self,
        lab: &Lab,
        step: Option<&Step>,
        backup: &Path,
        progress: &dyn provider::Progress,
        narrator: &dyn Narrator,
    ) -> anyhow::Result<()> {
        let snapshots = Snapshots::of(self.dir);
        let subject = self.subject();
        let blank = snapshots.blank(&subject).await?;
        snapshots
            .restore(&blank, &subject, backup, progress)
            .await?;
        self.begin(lab, narrator).await?;
        let before = lab
            .steps
            .iter()
            .take_while(|earlier| step.is_some_and(|step| step.id != earlier.id));
        for earlier in before {
            self.solve(lab, earlier, narrator).await?;
        }
        Ok(())
    }

    /// Begins a lab where nothing of it is known, and leaves all else as it is.
    ///
    /// # Errors
    /// As [`Self::go_to`].
    pub(crate) async fn join(&self, lab: &Lab, narrator: &dyn Narrator) -> anyhow::Result<()> {
        self.hand_out(lab)?;
        Progress::update(&progress_path(self.dir), |progress| {
            progress.begin(lab, self.workspace(), Timestamp::now());
        })?;
        let holds = self.look(lab, &start_of(lab)).await?.verdict == Verdict::Holds;
        if !holds {
            self.start(lab, narrator).await?;
        }
        Ok(())
    }

    fn hand_out(&self, lab: &Lab) -> anyhow::Result<()> {
        let addresses = addresses(&self.record, self.dir);
        workspace::hand_out(self.labs, lab, self.workspace(), &addresses)?;
        Ok(())
    }

    async fn start(&self, lab: &Lab, narrator: &dyn Narrator) -> anyhow::Result<()> {
        if let Some(text) = self.labs.script(lab, "start.sh") {
            narrator.start(lab);
            let name = format!("start.sh of lab {}", lab.name);
            self.scripts.succeed(&name, &text).await?;
        }
        self.until_holding(lab, &start_of(lab)).await?;
        Ok(())
    }

    /// Begins a lab anew: its files are handed out, and its start brought about.
    ///
    /// # Errors
    /// As [`Self::go_to`].
    pub(crate) async fn begin(&self, lab: &Lab, narrator: &dyn Narrator) -> anyhow::Result<()> {
        let workspace = self.workspace();
        Progress::update(&progress_path(self.dir), |progress| {
            progress.forget_lab(&lab.name);
            progress.begin(lab, workspace, Timestamp::now());
        })?;
        Snapshots::of(self.dir).forget(&lab.name, ids(lab));
        self.hand_out(lab)?;
        self.start(lab, narrator).await?;
        self.remember_beginning(lab, lab.steps.first()).await;
        Ok(())
    }

    /// Does a step by its solution, and notes that it is done.
    ///
    /// # Errors
    /// As [`Self::go_to`].
    pub(crate) async fn solve(
        &self,
        lab: &Lab,
        step: &Step,
        narrator: &dyn Narrator,
    ) -> anyhow::Result<()> {
        let name = format!("solution/{}.sh", step.id);
        let script = self.labs.script(lab, &name);
        narrator.doing(lab, step, script.as_deref());
        let began = Instant::now();
        if let Some(text) = script {
            let name = format!("{name} of lab {}", lab.name);
            self.scripts.succeed(&name, &text).await?;
        }
        let report = self.until_holding(lab, step).await?;
        self.note(lab, step, report.verdict)?;
        self.remember_beginning(lab, after(lab, step)).await;
        narrator.done(lab, step, &report, began.elapsed());
        Ok(())
    }

    /// Does what is left of a lab, up to a step and with it. What holds is left as it is.
    ///
    /// # Errors
    /// As [`Self::go_to`].
    pub(crate) async fn catch_up(
        &self,
        lab: &Lab,
        to: &Step,
        narrator: &dyn Narrator,
    ) -> anyhow::Result<usize> {
        let mut solved = 0;
        for step in &lab.steps {
            let report = self.look(lab, step).await?;
            let is_done = self.progress()?.is_done(&lab.name, step);
            if report.verdict == Verdict::Holds {
                self.note(lab, step, report.verdict)?;
            } else if !is_done {
                self.solve(lab, step, narrator).await?;
                solved += 1;
            }
            if step.id == to.id {
                break;
            }
        }
        Ok(solved)
    }

    fn note(&self, lab: &Lab, step: &Step, verdict: Verdict) -> anyhow::Result<()> {
        Progress::update(&progress_path(self.dir), |progress| {
            progress.note(lab, &step.id, verdict, Timestamp::now());
        })?;
        Ok(())
    }

    async fn look(&self, lab: &Lab, step: &Step) -> anyhow::Result<StepReport> {
        let progress = self.progress()?;
        let reports = check(&self.record, self.dir, &progress, lab, &[step]).await?;
        reports.into_iter().next().context("a check gave no answer")
    }

    async fn until_holding(&self, lab: &Lab, step: &Step) -> anyhow::Result<StepReport> {
        let deadline = Instant::now() + SETTLES;
        loop {
            let report = self.look(lab, step).await?;
            if report.verdict == Verdict::Holds {
                return Ok(report);
            }
            if Instant::now() >= deadline {
                let causes: Vec<_> = report
                    .checks
                    .iter()
                    .filter_map(|check| check.outcome.diagnosis())
                    .map(|cause| cause.text(lab_checks::language::Language::En))
                    .collect();
                bail!(
                    "step {}/{} does not hold after the lab's own script: {}",
                    lab.name,
                    step.id,
                    causes.join("; ")
                );
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Keeps how a step begins. It can be done without, so a failure is no reason to stop.
    async fn remember_beginning(&self, lab: &Lab, step: Option<&Step>) {
        if let Some(step) = step {
            keep_beginning(&self.subject(), lab, step).await;
        }
    }
}

/// The step after another.
pub(crate) fn after<'l>(lab: &'l Lab, step: &Step) -> Option<&'l Step> {
    let mut steps = lab.steps.iter();
    steps.find(|other| other.id == step.id)?;
    steps.next()
}

/// What must hold where a lab begins, as a step.
pub(crate) fn start_of(lab: &Lab) -> Step {
    Step {
        id: "start".to_owned(),
        checks: lab.start.clone(),
        ..Step::default()
    }
}

fn ids(lab: &Lab) -> impl Iterator<Item = &str> {
    lab.steps.iter().map(|step| step.id.as_str())
}

/// Keeps how a step begins, for `lab reset`. Where it cannot be kept, `lab reset` goes the long way.
pub(crate) async fn keep_beginning(subject: &Subject<'_>, lab: &Lab, step: &Step) {
    let snapshots = Snapshots::of(subject.dir);
    let kept = match snapshots.take(subject).await {
        Ok(snapshot) => snapshots.keep(&lab.name, &step.id, &snapshot),
        Err(error) => Err(error),
    };
    if let Err(error) = kept {
        tracing::debug!(
            error = format!("{error:#}"),
            "the beginning of a step is not kept"
        );
    }
}
