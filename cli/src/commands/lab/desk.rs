//! What `goto`, `reset` and `solve` share: a cluster that runs, a learner who agrees, and words
//! about what is done.

use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use dialoguer::Confirm;
use lab_checks::lab::{Lab, Step};
use lab_checks::language::Language;
use lab_checks::runner::StepReport;
use lab_cluster::config::ClusterSpec;
use lab_cluster::kubeconfig;
use lab_cluster::lifecycle::{self, DEFAULT_NODES, StartOptions};
use lab_cluster::provider;
use lab_cluster::record::Home;

use super::{Learner, pick, steps};
use crate::labs::journey::Narrator;
use crate::output::{faint, line, note, strong};
use crate::progress::{Shown, milliseconds};

/// Asks a learner; true where she agrees.
///
/// # Errors
/// Where there is nobody to ask, with what to type instead.
pub(super) fn agrees(learner: &Learner, question: &str) -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        bail!(
            "{}",
            learner.say(
                "this puts aside what is in your cluster and your lab files; say that you mean it: --yes",
                "ceci met de côté ce qui est dans votre cluster et vos fichiers du lab ; confirmez avec --yes",
            )
        );
    }
    Ok(Confirm::new()
        .with_prompt(question)
        .default(false)
        .interact()?)
}

/// The learner's cluster, running: one that is stopped is started, and one that is not there is
/// made where she agrees.
///
/// # Errors
/// Where there is none and she does not, or it does not start.
pub(super) async fn running(learner: &mut Learner, yes: bool) -> anyhow::Result<Home> {
    let home = Home::from_env()?;
    let mut options = StartOptions {
        name: learner.name.clone(),
        spec: ClusterSpec::default(),
        kubeconfig: None,
    };
    if learner.record.is_none() {
        let question = learner.say(
            "There is no cluster yet. Start one of three nodes?",
            "Il n’y a pas encore de cluster. En démarrer un de trois nœuds ?",
        );
        let start = yes || (stdin().is_terminal() && agrees(learner, question)?);
        if !start {
            bail!("{}", learner.no_cluster());
        }
        options.spec.nodes = Some(DEFAULT_NODES);
        options.kubeconfig = Some(kubeconfig::default_path()?);
    }
    let progress = Shown::new();
    let report = lifecycle::start(&home, options, &progress).await?;
    progress.finish();
    learner.record = Some(report.record);
    Ok(home)
}

/// The directory of a lab's files, as `lab next` chooses it.
///
/// # Errors
/// Where the current directory is gone.
pub(super) fn workspace(learner: &Learner, lab: &Lab) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir().context("the current directory is gone")?;
    Ok(steps::desk(&learner.progress, lab, &here))
}

/// Says where what was displaced is, if anything was.
pub(super) fn tell_backup(learner: &Learner, backup: &Path) {
    if backup.is_dir() {
        let said = learner.say(
            "What you had is kept in",
            "Ce que vous aviez est gardé dans",
        );
        line(format_args!(
            "{said} {}",
            strong(&backup.display().to_string())
        ));
    }
}

/// Progress of bringing something back, in the learner's language.
pub(super) struct Translated {
    shown: Shown,
    language: Language,
}

impl Translated {
    pub(super) fn new(language: Language) -> Self {
        Self {
            shown: Shown::new(),
            language,
        }
    }

    pub(super) fn finish(&self) {
        self.shown.finish();
    }

    fn word<'a>(&self, part: &'a str) -> &'a str {
        let french = match part {
            "parts and nodes" => "nœuds",
            "images" => "images",
            "files" => "fichiers",
            "objects" => "objets",
            "workloads" => "pods",
            other => other,
        };
        pick(self.language, part, french)
    }
}

impl provider::Progress for Translated {
    fn begin(&self, part: &str) {
        self.shown.begin(self.word(part));
    }

    fn done(&self, part: &str, took: Duration, note: &str) {
        self.shown.done(self.word(part), took, note);
    }
}

/// A line per step that is done.
pub(super) struct Lines(pub(super) Language);

impl Narrator for Lines {
    fn start(&self, lab: &Lab) {
        let begins = pick(self.0, "begins", "commence");
        note(faint(&format!("  … {} {begins}", lab.name)));
    }

    fn doing(&self, lab: &Lab, step: &Step, _: Option<&str>) {
        let heading = step.heading.get(self.0);
        note(faint(&format!("  … {}/{}  {heading}", lab.name, step.id)));
    }

    fn done(&self, lab: &Lab, step: &Step, _: &StepReport, took: Duration) {
        let mark = console::style("✓").for_stderr().green();
        let took = milliseconds(took);
        note(format_args!("  {mark} {}/{}  {took}", lab.name, step.id));
    }
}
