//! `devops-lab` alone: what to do next.

use std::process::ExitCode;

use lab_cluster::record::Home;
use lab_cluster::status::{Overall, status};

use super::lab::{Learner, bar, language, pick};
use crate::cli::{ClusterArgs, LabArgs, LabsArgs, LanguageArgs};
use crate::markdown::{self, wrap};
use crate::output::{blank, good, line, strong};

/// Says whose labs, as `--labs` does.
const LABS_VARIABLE: &str = "DEVOPS_LAB_LABS";
/// Says which language, as `--lang` does.
const LANGUAGE_VARIABLE: &str = "DEVOPS_LAB_LANG";
/// Says which cluster, as `--name` does.
const CLUSTER_VARIABLE: &str = "DEVOPS_LAB_CLUSTER";

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    let names = home.names();
    let asked = std::env::var(CLUSTER_VARIABLE).ok();
    let lang = std::env::var(LANGUAGE_VARIABLE).ok();
    let name = asked.filter(|name| names.contains(name));
    let Some(name) = name.or_else(|| names.first().cloned()) else {
        first_time(lang.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    };
    let running = status(&home.cluster(&name))
        .await
        .is_ok_and(|status| status.state != Overall::Stopped);
    let learner = Learner::of(LabArgs {
        cluster: ClusterArgs { name },
        language: LanguageArgs { lang },
        labs: LabsArgs {
            labs: std::env::var_os(LABS_VARIABLE).map(Into::into),
        },
    })?;
    if running {
        going_on(&learner);
    } else {
        stopped(&learner);
    }
    Ok(ExitCode::SUCCESS)
}

/// A text, and a bar after it where there is room.
fn beside(text: &str, bar: &str) -> String {
    let width = markdown::width();
    let text = wrap(text, "", width);
    let last = text.lines().last().unwrap_or_default();
    let together = console::measure_text_width(last) + 2 + console::measure_text_width(bar);
    let space = if together <= width { "  " } else { "\n" };
    format!("{text}{space}{bar}")
}

/// Commands, and what each is for.
fn table(rows: &[(String, &str)]) {
    let width = rows
        .iter()
        .map(|(command, _)| console::measure_text_width(command))
        .max()
        .unwrap_or_default();
    for (command, what) in rows {
        let space = width - console::measure_text_width(command) + 3;
        line(format_args!("  {command}{:space$}{what}", ""));
    }
}

fn first_time(lang: Option<&str>) -> anyhow::Result<()> {
    let language = language(lang)?;
    let say = |en, fr| pick(language, en, fr);
    line(say(
        "There is no cluster yet.",
        "Il n’y a pas encore de cluster.",
    ));
    blank();
    table(&[
        (
            strong("devops-lab start 3"),
            say("start one of three nodes", "en démarrer un de trois nœuds"),
        ),
        (
            strong("devops-lab demo"),
            say(
                "or see a guided tour first (half a minute)",
                "ou voir d’abord une visite guidée (une demi-minute)",
            ),
        ),
        (
            strong("devops-lab doctor"),
            say(
                "does this machine have all it needs?",
                "cette machine a-t-elle tout ce qu’il faut ?",
            ),
        ),
    ]);
    Ok(())
}

fn going_on(learner: &Learner) {
    let Learner { labs, progress, .. } = learner;
    let (lead, tail) = learner
        .say("Cluster |runs.", "Le cluster |est démarré.")
        .split_once('|')
        .unwrap_or_default();
    line(format_args!("{lead}{:?} {tail}", learner.name));
    let status = (
        learner.command("status"),
        learner.say("how the cluster is", "comment va le cluster"),
    );
    let list = (
        learner.command("lab list"),
        learner.say("all labs", "tous les labs"),
    );
    let Some((lab, step)) = progress.next_step(labs) else {
        line(good(learner.all_done()));
        blank();
        table(&[list, status]);
        return;
    };
    let title = lab.title.get(learner.language);
    let heading = step.heading.get(learner.language);
    let bar = bar(progress, lab);
    let next = if progress.is_under_way(lab) {
        let at = learner.say("You are at", "Vous en êtes à");
        line(beside(&format!("{at} « {heading} » · {title}"), &bar));
        learner.say("what to do there", "ce qu’il faut y faire")
    } else {
        let begins = learner.say("Next comes the lab", "La suite : le lab");
        let text = format!("{begins} « {title} » · {} min", lab.minutes);
        line(wrap(&text, "", markdown::width()));
        learner.say("begin it", "le commencer")
    };
    blank();
    let mut rows = vec![
        (learner.command("lab next"), next),
        (
            learner.command("check"),
            learner.say("did it work?", "est-ce que cela a marché ?"),
        ),
    ];
    if !step.hints.is_empty() {
        let what = learner.say("a hint, when you are stuck", "un indice, en cas de blocage");
        rows.push((learner.command("hint"), what));
    }
    if !step.questions.is_empty() {
        let what = learner.say("answer its question", "répondre à sa question");
        rows.push((learner.command("answer"), what));
    }
    let guide = (
        learner.command("guide"),
        learner.say(
            "in the browser, with your cluster live",
            "dans le navigateur, avec votre cluster en direct",
        ),
    );
    rows.extend([guide, list, status]);
    table(&rows);
}

fn stopped(learner: &Learner) {
    let (lead, tail) = learner
        .say("Cluster |is stopped.", "Le cluster |est arrêté.")
        .split_once('|')
        .unwrap_or_default();
    line(format_args!("{lead}{:?} {tail}", learner.name));
    blank();
    table(&[(
        learner.command("start"),
        learner.say("bring it back as it was", "le retrouver tel qu’il était"),
    )]);
}
