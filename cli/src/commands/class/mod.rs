//! `devops-lab class`: a class is held, joined, told, asked for help, and left.

mod qr;
mod start;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use lab_checks::language::Language;
use lab_classroom::agent::{Agent, AgentError};
use lab_classroom::outbox::{Membership, Outbox};
use lab_classroom::protocol::{Finding, Join, Level, What};
use lab_classroom::secrets;
use lab_cluster::doctor::{self, Grade};
use lab_cluster::record::Home;
use rustix::fs::{FlockOperation, flock};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::lab::{language, pick};
use crate::class::{self, url_of};
use crate::cli::class::{ClassCommand, ClassHandArgs, ClassJoinArgs, ClassStatusArgs};
use crate::cli::{Format, LanguageArgs, OutputArgs};
use crate::output::{blank, faint, good, json, line, strong, warn};

pub(crate) async fn run(command: ClassCommand) -> anyhow::Result<ExitCode> {
    let home = Home::from_env()?;
    match command {
        ClassCommand::Start(args) => start::run(&home, args).await?,
        ClassCommand::Join(args) => join(&home, args).await?,
        ClassCommand::Status(args) => status(&home, args)?,
        ClassCommand::Hand(args) => hand(&home, args)?,
        ClassCommand::Leave(args) => leave(&home, args).await?,
        ClassCommand::Export(args) => start::export(&home, &args)?,
        ClassCommand::Agent => agent(&home).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn join(home: &Home, args: ClassJoinArgs) -> anyhow::Result<()> {
    let ClassJoinArgs {
        address,
        code,
        name,
        faults,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let server = url_of(&address)?;
    let outbox = class::outbox(home);
    let before = outbox.membership()?;
    // Joining again from this machine is no second student.
    let client = before.map_or_else(secrets::token, |before| before.client);
    let request = Join {
        code,
        name: name.clone(),
        client: client.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let joined = Agent::join(&server, &request).await?;
    outbox.join(&Membership {
        server,
        class: joined.class.clone(),
        student: joined.student,
        name: name.clone(),
        token: joined.token,
        client,
        faults,
    })?;
    line(good(&format!(
        "✓ {} {}",
        pick(language, "You are in:", "Vous êtes dans la classe :"),
        printable(&joined.class)
    )));
    if joined.version != env!("CARGO_PKG_VERSION") {
        let text = pick(
            language,
            "the class runs another version of devops-lab:",
            "la classe utilise une autre version de devops-lab :",
        );
        line(warn(&format!("! {text} {}", printable(&joined.version))));
    }
    outbox.push(What::Faults { agreed: faults }, Timestamp::now())?;
    let findings = findings(home).await;
    outbox.push(What::Doctor { findings }, Timestamp::now())?;
    class::start_agent();
    class::tell_registries(home).await;
    tell_what_is_shared(language);
    Ok(())
}

async fn findings(home: &Home) -> BTreeMap<String, Finding> {
    let findings = doctor::examine(home).await;
    let finding = |finding: doctor::Finding| {
        let level = match finding.grade {
            Grade::Ok => Level::Ok,
            Grade::Warning => Level::Warn,
            Grade::Problem => Level::Fail,
        };
        let text = finding.found.clone();
        (finding.subject.to_owned(), Finding { level, text })
    };
    findings.into_iter().map(finding).collect()
}

fn tell_what_is_shared(language: Language) {
    line(faint(pick(
        language,
        "The class is told: your name, the steps you open and check, what a check found, the hints you ask for, your raised hand, and what `devops-lab doctor` says. Nothing else: no files, no commands, no screens.",
        "La classe apprend : votre nom, les étapes que vous ouvrez et vérifiez, ce qu’une vérification a trouvé, les indices demandés, votre main levée et ce que dit `devops-lab doctor`. Rien d’autre : ni fichiers, ni commandes, ni écran.",
    )));
    line(format_args!(
        "{} {}",
        pick(
            language,
            "See it all, or end it:",
            "Pour tout voir, ou arrêter :"
        ),
        strong("devops-lab class status · devops-lab class leave")
    ));
}

fn status(home: &Home, args: ClassStatusArgs) -> anyhow::Result<()> {
    let ClassStatusArgs {
        output: OutputArgs { output },
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let outbox = class::outbox(home);
    let Some(membership) = outbox.membership()? else {
        match output {
            Format::Json => json(&serde_json::json!({"class": null}))?,
            Format::Text => line(pick(
                language,
                "You are in no class; nothing is told to anybody.",
                "Vous n’êtes dans aucune classe ; rien n’est communiqué à personne.",
            )),
        }
        return Ok(());
    };
    let waiting = outbox.pending(usize::MAX)?;
    let told = outbox.told()?;
    let delivers = is_locked(&outbox);
    if let Format::Json = output {
        return json(&serde_json::json!({
            "class": membership.class, "server": membership.server, "student": membership.student,
            "name": membership.name, "faults": membership.faults, "delivers": delivers,
            "waiting": waiting, "told": told,
        }));
    }
    line(strong(&printable(&membership.class)));
    line(format_args!("  {}", membership.server));
    let as_whom = pick(language, "as", "sous le nom de");
    line(format_args!("  {as_whom} {}", membership.name));
    if let Some(point) = &told.point {
        let text = pick(language, "the class is at", "la classe en est à");
        line(format_args!("  {text} {}", printable(point)));
    }
    if let Some(by) = &told.coming {
        let text = pick(language, "is on the way to you", "arrive");
        line(format_args!("  {} {text}", printable(by)));
    }
    blank();
    line(match (waiting.len(), language) {
        (0, Language::En) => "Everything is delivered.".to_owned(),
        (0, Language::Fr) => "Tout est transmis.".to_owned(),
        (count, Language::En) => format!("Not delivered yet: {count}"),
        (count, Language::Fr) => format!("Pas encore transmis : {count}"),
    });
    for event in waiting.iter().take(20) {
        line(faint(&format!(
            "  {} {}",
            event.number,
            serde_json::to_string(&event.what)?
        )));
    }
    if !delivers {
        class::start_agent();
    }
    tell_what_is_shared(language);
    Ok(())
}

fn hand(home: &Home, args: ClassHandArgs) -> anyhow::Result<()> {
    let ClassHandArgs {
        note,
        lower,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let outbox = class::outbox(home);
    if outbox.membership()?.is_none() {
        bail!(
            "you are in no class: devops-lab class join ADDRESS --code CODE --name NAME (the teacher shows address and code)"
        );
    }
    if lower {
        outbox.push(What::HandLowered {}, Timestamp::now())?;
        class::start_agent();
        line(pick(
            language,
            "Your hand is down.",
            "Votre main est baissée.",
        ));
        return Ok(());
    }
    let (lab, step, diagnosis) = class::last_check(home);
    outbox.push(
        What::HandRaised {
            lab,
            step,
            diagnosis,
            note,
        },
        Timestamp::now(),
    )?;
    class::start_agent();
    line(pick(
        language,
        "Your hand is up; the teacher sees your step and what its last check said.",
        "Votre main est levée ; le professeur voit votre étape et ce qu’a dit la dernière vérification.",
    ));
    Ok(())
}

async fn leave(home: &Home, args: LanguageArgs) -> anyhow::Result<()> {
    let LanguageArgs { lang } = args;
    let language = language(lang.as_deref())?;
    let outbox = class::outbox(home);
    let Some(membership) = outbox.membership()? else {
        line(pick(
            language,
            "You are in no class.",
            "Vous n’êtes dans aucune classe.",
        ));
        return Ok(());
    };
    // The class is told where it can be reached; she is out of it in any case.
    let told = Agent::of(&membership).leave().await;
    outbox.leave()?;
    class::tell_registries(home).await;
    let name = printable(&membership.class);
    line(match language {
        Language::En => format!("You have left {name}. Nothing more is told."),
        Language::Fr => format!("Vous avez quitté {name}. Plus rien n’est communiqué."),
    });
    if let Err(error @ AgentError::Unreachable { .. }) = told {
        line(faint(&error.to_string()));
    }
    Ok(())
}

/// Delivers in the background until the student leaves; one at a time.
async fn agent(home: &Home) -> anyhow::Result<()> {
    let outbox = class::outbox(home);
    let Some(membership) = outbox.membership()? else {
        return Ok(());
    };
    let path = outbox.dir().join("agent.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("failed to open {}", path.display()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(());
    }
    let end = CancellationToken::new();
    let (ended, watched) = (end.clone(), outbox.clone());
    tokio::spawn(async move {
        let mut terminate = signal(SignalKind::terminate()).ok();
        loop {
            let term = async {
                match &mut terminate {
                    Some(terminate) => terminate.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = term => break,
                () = tokio::time::sleep(std::time::Duration::from_secs(1)) => {}
            }
            // She has left, or joined another class, which has an agent of its own.
            if !matches!(watched.membership(), Ok(Some(now)) if now.token == membership.token) {
                break;
            }
        }
        ended.cancel();
    });
    let membership = outbox.membership()?.context("the class was left")?;
    class::serve(home, &Agent::of(&membership), &outbox, &end).await
}

/// True where a background process delivers.
fn is_locked(outbox: &Outbox) -> bool {
    let path = outbox.dir().join("agent.lock");
    OpenOptions::new()
        .write(true)
        .open(path)
        .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err())
}

/// What came over the wire must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_title_does_not_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a[2Jb");
    }
}
