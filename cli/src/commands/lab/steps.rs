//! `devops-lab lab next` and `lab show`: the text of labs, and their files.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use lab_checks::lab::{Answer, Lab, Question, Step};
use lab_checks::outcome::Verdict;
use lab_checks::progress::Progress;
use lab_classroom::protocol::What;
use lab_cluster::record::Home;
use serde_json::{Value, json};

use super::{Learner, find, set};
use crate::class;
use crate::cli::{Format, LabListArgs, LabShowArgs, OutputArgs};
use crate::commands::check::check;
use crate::labs::journey::{keep_beginning, start_of};
use crate::labs::snapshot::Subject;
use crate::labs::workspace;
use crate::output::{blank, faint, good, json, line, strong, warn};

pub(super) async fn next(args: LabListArgs) -> anyhow::Result<()> {
    let LabListArgs {
        options,
        output: OutputArgs { output },
    } = args;
    let mut learner = Learner::of(options)?;
    let labs = learner.labs.clone();
    let Some((lab, step)) = learner.progress.next_step(&labs) else {
        match output {
            Format::Text => line(good(learner.all_done())),
            Format::Json => json(&json!({"lab": null, "step": null}))?,
        }
        return Ok(());
    };
    if let Ok(home) = Home::from_env() {
        if output == Format::Text {
            class::notices(&home, learner.language);
        }
        let (lab, step) = (lab.name.clone(), step.id.clone());
        class::share(&home, What::Opened { lab, step });
    }
    if output == Format::Text {
        print_step(&learner, lab, step);
        blank();
    }
    let given = match &learner.record {
        Some(_) => Some(begin(&mut learner, lab).await?),
        None => None,
    };
    match (output, given) {
        (Format::Json, given) => {
            let mut value = step_value(&learner, lab, step);
            if let Some((workspace, files)) = given {
                value["workspace"] = json!(workspace);
                value["given"] = json!(files);
            }
            json(&value)?;
        }
        (Format::Text, None) => line(learner.no_cluster()),
        (Format::Text, Some((workspace, files))) => {
            say_where(&learner, &workspace, &files);
            if lab.steps.first().is_some_and(|first| first.id == step.id) {
                say_how_it_begins(&learner, lab).await?;
            }
            let label = learner.say("When it is done: ", "Quand c’est fait : ");
            line(format_args!("{label}{}", learner.command("check")));
            let label = learner.say("In the browser: ", "Dans le navigateur : ");
            line(format_args!("{label}{}", learner.command("guide")));
        }
    }
    Ok(())
}

/// True where the cluster is what the lab begins with, as far as can be told.
pub(crate) async fn is_at_beginning(learner: &Learner, lab: &Lab) -> anyhow::Result<bool> {
    let Some(record) = learner.record.as_ref().filter(|_| !lab.start.is_empty()) else {
        return Ok(true);
    };
    let start = start_of(lab);
    let reports = check(record, &learner.dir, &learner.progress, lab, &[&start]).await?;
    Ok(reports
        .iter()
        .all(|report| report.verdict != Verdict::NotYet))
}

/// Where the cluster is not what the lab begins with, what brings it there.
async fn say_how_it_begins(learner: &Learner, lab: &Lab) -> anyhow::Result<()> {
    if !is_at_beginning(learner, lab).await? {
        let label = learner.say(
            "Your cluster is not yet where this lab begins; this brings it there:",
            "Votre cluster n’en est pas encore au départ de ce lab ; ceci l’y amène :",
        );
        let goto = learner.command(&format!("lab goto {}", lab.name));
        line(warn(label));
        // A command of its own line, to be copied.
        line(format_args!("  {goto}"));
    }
    Ok(())
}

/// Gives the lab's files to the learner, and notes when and where. How a lab begins is kept, for
/// `lab reset`.
pub(crate) async fn begin(
    learner: &mut Learner,
    lab: &Lab,
) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let here = env::current_dir().context("the current directory is gone")?;
    let workspace = desk(&learner.progress, lab, &here);
    let given = workspace::hand_out(&learner.labs, lab, &workspace, &learner.addresses())?;
    let is_new = learner.progress.begun(&lab.name).is_none();
    learner.note(|progress| progress.begin(lab, &workspace, Timestamp::now()))?;
    if let (true, Some(first), Ok(home)) = (is_new, lab.steps.first(), Home::from_env()) {
        let names = workspace::names(&learner.labs);
        let subject = Subject {
            home: &home,
            dir: &learner.dir,
            workspace: &workspace,
            names: Some(&names),
        };
        keep_beginning(&subject, lab, first).await;
    }
    Ok((workspace, given))
}

/// Where the files of a lab are, or are to be: where they were handed out, else the directory of
/// an earlier lab that she is in, else where she is.
pub(super) fn desk(progress: &Progress, lab: &Lab, here: &Path) -> PathBuf {
    let own = progress.workspace(&lab.name).filter(|place| place.is_dir());
    let around = || progress.workspaces().find(|place| here.starts_with(place));
    own.or_else(around).unwrap_or(here).to_owned()
}

fn say_where(learner: &Learner, workspace: &Path, files: &[String]) {
    let is_here = env::current_dir().is_ok_and(|here| here == workspace);
    if !files.is_empty() {
        let lead = if is_here {
            "./".to_owned()
        } else {
            format!("{}/", workspace.display())
        };
        let places: Vec<_> = files
            .iter()
            .map(|file| strong(&format!("{lead}{file}")))
            .collect();
        let said = learner.say(
            "The lab's files are now in",
            "Les fichiers du lab sont maintenant dans",
        );
        line(format_args!("{said} {}", places.join(", ")));
    } else if !is_here {
        let said = learner.say("You work in", "Votre dossier de travail :");
        let place = strong(&workspace.display().to_string());
        line(format_args!("{said} {place}"));
    }
}

pub(super) fn show(args: LabShowArgs) -> anyhow::Result<()> {
    let LabShowArgs {
        lab,
        options,
        output: OutputArgs { output },
    } = args;
    let learner = Learner::of(options)?;
    let (lab, step) = find(&learner.labs, &lab)?;
    match (output, step) {
        (Format::Text, Some(step)) => print_step(&learner, lab, step),
        (Format::Text, None) => print_lab(&learner, lab),
        (Format::Json, Some(step)) => json(&step_value(&learner, lab, step))?,
        (Format::Json, None) => json(&lab_value(&learner, lab))?,
    }
    Ok(())
}

fn lab_value(learner: &Learner, lab: &Lab) -> Value {
    let language = learner.language;
    let steps = lab.steps.iter().map(|step| step_value(learner, lab, step));
    json!({
        "lab": lab.name,
        "title": lab.title.get(language),
        "minutes": lab.minutes,
        "prerequisites": lab.prerequisites,
        "intro": learner.fill(lab.intro.get(language)),
        "steps": steps.collect::<Vec<_>>(),
        "ending": learner.fill(lab.ending.get(language)),
    })
}

fn step_value(learner: &Learner, lab: &Lab, step: &Step) -> Value {
    let language = learner.language;
    let answers = learner.progress.answers(&lab.name, &step.id);
    let questions = step.questions.iter().map(|question| {
        let choices = choices(question).map(|choice| choice.text.get(language));
        json!({
            "id": question.id,
            "ask": learner.fill(question.ask.get(language)),
            "choices": choices.collect::<Vec<_>>(),
            "answer": answers.get(&question.id),
        })
    });
    json!({
        "lab": lab.name,
        "step": step.id,
        "heading": step.heading.get(language),
        "prose": learner.fill(step.prose.get(language)),
        "questions": questions.collect::<Vec<_>>(),
        "hints": step.hints.len(),
        "done": learner.progress.is_done(&lab.name, step),
    })
}

fn choices(question: &Question) -> impl Iterator<Item = &lab_checks::lab::Choice> {
    match &question.answer {
        Answer::Choice(choices) => choices.iter(),
        Answer::Number { .. } | Answer::Text(_) | Answer::Recorded { .. } => [].iter(),
    }
}

fn print_lab(learner: &Learner, lab: &Lab) {
    let title = lab.title.get(learner.language);
    let intro = lab.intro.get(learner.language);
    set(learner, &format!("# {title}\n\n{intro}"));
    for step in &lab.steps {
        blank();
        print_section(learner, step);
    }
    blank();
    set(learner, lab.ending.get(learner.language));
}

fn print_step(learner: &Learner, lab: &Lab, step: &Step) {
    let mut steps = lab.steps.iter();
    let at = steps.position(|other| other.id == step.id);
    let at = at.unwrap_or_default();
    let title = lab.title.get(learner.language);
    if at == 0 {
        let intro = lab.intro.get(learner.language);
        set(learner, &format!("# {title}\n\n{intro}"));
        blank();
    }
    line(faint(&format!(
        "{title} · {}/{} · {}/{}",
        at + 1,
        lab.steps.len(),
        lab.name,
        step.id
    )));
    blank();
    print_section(learner, step);
}

/// The text of a step, and what it asks.
fn print_section(learner: &Learner, step: &Step) {
    let language = learner.language;
    let (heading, prose) = (step.heading.get(language), step.prose.get(language));
    set(learner, &format!("## {heading}\n\n{prose}"));
    for question in &step.questions {
        blank();
        let choices: Vec<_> = choices(question)
            .zip(1..)
            .map(|(choice, number)| format!("{number}. {}", choice.text.get(language)))
            .collect();
        let ask = question.ask.get(language);
        set(learner, &format!("**?** {ask}\n\n{}", choices.join("\n")));
        let answer = learner.command(&format!("answer {}", question.id));
        line(format_args!(
            "{}{answer}",
            learner.say("Answer: ", "Répondre : ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use lab_checks::library::Labs;

    use super::*;

    #[test]
    fn files_stay_where_they_are_and_labs_share_a_directory() {
        let labs = Labs::embedded().unwrap();
        let lab = labs.get("deploy-three-replicas").unwrap();
        let other = Lab {
            name: "other".to_owned(),
            ..lab.clone()
        };
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("first"), root.path().join("second"));
        std::fs::create_dir_all(first.join("hello/k8s")).unwrap();
        std::fs::create_dir(&second).unwrap();
        let mut progress = Progress::default();
        assert_eq!(desk(&progress, lab, &second), second);
        progress.begin(&other, &first, Timestamp::UNIX_EPOCH);
        assert_eq!(desk(&progress, lab, &first.join("hello/k8s")), first);
        assert_eq!(desk(&progress, lab, &second), second);
        progress.begin(lab, &first, Timestamp::UNIX_EPOCH);
        assert_eq!(desk(&progress, lab, &second), first);
        std::fs::remove_dir_all(&first).unwrap();
        assert_eq!(
            desk(&progress, lab, &second),
            second,
            "the directory is gone"
        );
    }
}
