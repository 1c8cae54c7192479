//! `devops-lab lab solve`: what is left of a lab, done by its own solutions.

use anyhow::bail;

use super::desk::{self, Lines};
use super::{Learner, find};
use crate::cli::LabSolveArgs;
use crate::labs::journey::Journey;
use crate::output::{blank, good, line};

pub(super) async fn run(args: LabSolveArgs) -> anyhow::Result<()> {
    let LabSolveArgs { lab, to, options } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let name = match lab {
        Some(lab) => lab,
        None => match learner.progress.next_step(&labs) {
            Some((lab, _)) => lab.name.clone(),
            None => bail!("all labs are done; name the one that is meant"),
        },
    };
    let (lab, step) = find(&labs, &format!("{name}/{to}"))?;
    let Some(step) = step else {
        bail!("name the last step to do: --to STEP");
    };
    if learner.record.is_none() {
        bail!("{}", learner.no_cluster());
    }
    let home = desk::running(&mut learner, false).await?;
    let workspace = desk::workspace(&learner, lab)?;
    let narrator = Lines(learner.language);
    let journey = Journey::new(&labs, &home, &learner.dir, &workspace)?;
    if learner.progress.begun(&lab.name).is_none() {
        journey.join(lab, &narrator).await?;
    }
    let solved = journey.catch_up(lab, step, &narrator).await?;
    blank();
    line(good(&if solved == 0 {
        learner
            .say("It is all done already.", "Tout est déjà fait.")
            .to_owned()
    } else {
        format!(
            "{}{}/{}",
            learner.say("Done up to ", "Fait jusqu’à "),
            lab.name,
            step.id
        )
    }));
    line(format_args!(
        "{}{}",
        learner.say("Next: ", "Ensuite : "),
        learner.command("lab next")
    ));
    Ok(())
}
