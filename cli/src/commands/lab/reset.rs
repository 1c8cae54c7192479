//! `devops-lab lab reset`: back to where a step or lab began.

use jiff::Timestamp;
use lab_checks::lab::{Lab, Step};
use lab_cluster::record::Home;

use super::desk::{self, Translated, agrees};
use super::{Learner, find, goto};
use crate::cli::LabResetArgs;
use crate::labs::journey::Journey;
use crate::labs::snapshot::{Snapshot, Snapshots};
use crate::output::{good, line, warn};

pub(super) async fn run(args: LabResetArgs) -> anyhow::Result<()> {
    let LabResetArgs {
        target,
        yes,
        options,
    } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let (lab, step) = match &target {
        Some(target) => find(&labs, target)?,
        None => match learner.progress.next_step(&labs) {
            Some((lab, step)) => (lab, Some(step)),
            None => {
                let done =
                    "All labs are done. Name the one to begin again: devops-lab lab reset LAB";
                let fait = "Tous les labs sont terminés. Nommez celui à recommencer : devops-lab lab reset LAB";
                line(good(learner.say(done, fait)));
                return Ok(());
            }
        },
    };
    let home = desk::running(&mut learner, yes).await?;
    let Some(first) = step.or(lab.steps.first()) else {
        return Ok(());
    };
    let kept = Snapshots::of(&learner.dir).beginning_of(&lab.name, &first.id)?;
    match kept {
        Some(snapshot) => back(&mut learner, &home, lab, first, &snapshot, yes).await,
        // Nobody was there when it began, so it is brought about anew.
        None => goto::go(&learner, &home, lab, step, yes).await,
    }
}

async fn back(
    learner: &mut Learner,
    home: &Home,
    lab: &Lab,
    step: &Step,
    snapshot: &Snapshot,
    yes: bool,
) -> anyhow::Result<()> {
    let workspace = desk::workspace(learner, lab)?;
    let question = learner.say(
        "Put aside what you did since this step began?",
        "Mettre de côté ce que vous avez fait depuis le début de cette étape ?",
    );
    if !yes && !agrees(learner, question)? {
        return Ok(());
    }
    let labs = learner.labs.clone();
    let dir = learner.dir.clone();
    let journey = Journey::new(&labs, home, &dir, &workspace)?;
    let backup = journey.backup();
    let progress = Translated::new(learner.language);
    let restored = Snapshots::of(&dir)
        .restore(snapshot, &journey.subject(), &backup, &progress)
        .await;
    progress.finish();
    desk::tell_backup(learner, &backup);
    let restored = restored?;
    let again: Vec<_> = lab
        .steps
        .iter()
        .skip_while(|other| other.id != step.id)
        .map(|step| step.id.as_str())
        .collect();
    let whole = again.len() == lab.steps.len();
    learner.note(|progress| {
        progress.forget_steps(&lab.name, again.iter().copied());
        if whole {
            progress.forget_lab(&lab.name);
            progress.begin(lab, &workspace, Timestamp::now());
        }
    })?;
    // How this step began is as it was; how later ones did is no longer so.
    Snapshots::of(&dir).forget(&lab.name, again.iter().skip(1).copied());
    if !restored.unsettled.is_empty() {
        let said = learner.say("Not ready yet: ", "Pas encore prêts : ");
        line(warn(&format!("{said}{}", restored.unsettled.join(", "))));
    }
    goto::arrived(learner, lab, Some(step));
    Ok(())
}
