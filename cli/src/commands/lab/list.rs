//! `devops-lab lab list`: the labs, and how far she is.

use lab_checks::lab::Lab;
use lab_checks::progress::Progress;
use serde_json::{Value, json};

use super::Learner;
use crate::cli::{Format, LabListArgs, OutputArgs};
use crate::output::{blank, good, json, line, strong, table};

pub(super) fn run(args: LabListArgs) -> anyhow::Result<()> {
    let LabListArgs {
        options,
        output: OutputArgs { output },
    } = args;
    let learner = Learner::of(options)?;
    match output {
        Format::Text => print(&learner),
        Format::Json => json(&value(&learner))?,
    }
    Ok(())
}

fn value(learner: &Learner) -> Value {
    let Learner {
        labs,
        progress,
        language,
        ..
    } = learner;
    let lab = |lab: &Lab| {
        let steps = lab.steps.iter().map(|step| {
            json!({
                "id": step.id,
                "heading": step.heading.get(*language),
                "done": progress.is_done(&lab.name, step),
            })
        });
        json!({
            "name": lab.name,
            "title": lab.title.get(*language),
            "minutes": lab.minutes,
            "prerequisites": lab.prerequisites,
            "begun": progress.begun(&lab.name),
            "done": progress.done_of(lab),
            "steps": steps.collect::<Vec<_>>(),
        })
    };
    let next = progress
        .next_step(labs)
        .map(|(lab, step)| json!({"lab": lab.name, "step": step.id}));
    json!({"labs": labs.iter().map(lab).collect::<Vec<_>>(), "next": next})
}

fn print(learner: &Learner) {
    let Learner { labs, progress, .. } = learner;
    let next = progress.next_step(labs);
    let rows: Vec<_> = labs
        .iter()
        .map(|lab| {
            let is_next = next.is_some_and(|(next, _)| next.name == lab.name);
            let (mark, name) = if is_next {
                ("▸", strong(&lab.name))
            } else {
                (" ", lab.name.clone())
            };
            vec![
                format!("{mark} {name}"),
                lab.title.get(learner.language).to_owned(),
                bar(progress, lab),
                format!("{} min", lab.minutes),
            ]
        })
        .collect();
    let head = learner.say("  LAB/TITLE/STEPS/TIME", "  LAB/TITRE/ÉTAPES/DURÉE");
    table(&head.split('/').collect::<Vec<_>>(), &rows);
    blank();
    match next {
        None => line(good(learner.all_done())),
        Some(_) if learner.record.is_none() => line(learner.no_cluster()),
        Some((lab, step)) => {
            let heading = step.heading.get(learner.language);
            let place = format!("({}/{})", lab.name, step.id);
            line(format_args!(
                "{}{heading} {place}  {}",
                learner.say("Next: ", "Ensuite : "),
                learner.command("lab next")
            ));
        }
    }
}

/// The steps of a lab, each done or not, and how many.
pub(crate) fn bar(progress: &Progress, lab: &Lab) -> String {
    let mark = |step| {
        if progress.is_done(&lab.name, step) {
            '●'
        } else {
            '○'
        }
    };
    let bar: String = lab.steps.iter().map(mark).collect();
    let (done, all) = (progress.done_of(lab), lab.steps.len());
    let bar = if done == all { good(&bar) } else { bar };
    format!("{bar} {done}/{all}")
}
