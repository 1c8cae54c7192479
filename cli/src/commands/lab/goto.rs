//! `devops-lab lab goto`: to the beginning of a lab or step, from anywhere.

use lab_checks::lab::{Lab, Step};
use lab_cluster::record::Home;

use super::desk::{self, Lines, Translated, agrees};
use super::{Learner, find};
use crate::cli::LabGotoArgs;
use crate::labs::journey::Journey;
use crate::labs::snapshot::has_own_work;
use crate::output::{blank, good, line};

pub(super) async fn run(args: LabGotoArgs) -> anyhow::Result<()> {
    let LabGotoArgs {
        target,
        yes,
        options,
    } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let (lab, step) = find(&labs, &target)?;
    let home = desk::running(&mut learner, yes).await?;
    go(&learner, &home, lab, step, yes).await
}

/// Brings the learner there, if she agrees.
pub(super) async fn go(
    learner: &Learner,
    home: &Home,
    lab: &Lab,
    step: Option<&Step>,
    yes: bool,
) -> anyhow::Result<()> {
    let workspace = desk::workspace(learner, lab)?;
    let journey = Journey::new(&learner.labs, home, &learner.dir, &workspace)?;
    let question = learner.say(
        "Put aside what is in your cluster and your lab files, and go there?",
        "Mettre de côté ce qui est dans votre cluster et vos fichiers du lab, et y aller ?",
    );
    if !yes && has_own_work(&journey.subject()).await? && !agrees(learner, question)? {
        return Ok(());
    }
    let backup = journey.backup();
    let progress = Translated::new(learner.language);
    let gone = journey
        .go_to(lab, step, &backup, &progress, &Lines(learner.language))
        .await;
    progress.finish();
    desk::tell_backup(learner, &backup);
    gone?;
    arrived(learner, lab, step);
    Ok(())
}

/// Where the learner is now, and what to type.
pub(super) fn arrived(learner: &Learner, lab: &Lab, step: Option<&Step>) {
    let step = step.or(lab.steps.first());
    let heading = step.map(|step| step.heading.get(learner.language));
    blank();
    line(good(&format!(
        "{}{} · {}",
        learner.say("You are at: ", "Vous êtes à : "),
        lab.title.get(learner.language),
        heading.unwrap_or_default()
    )));
    line(format_args!(
        "{}{}",
        learner.say("Read on: ", "À lire : "),
        learner.command("lab next")
    ));
}
