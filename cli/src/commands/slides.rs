//! `devops-lab slides`: list, show, export, lint.

mod surroundings;

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use lab_checks::language::Language;
use lab_checks::library::Labs;
use lab_slides::deck::Deck;
use lab_slides::export;
use lab_slides::library::Decks;
use lab_slides::server::{Languages, Show};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::cli::slides::{
    DecksArgs, SlidesCommand, SlidesExportArgs, SlidesLintArgs, SlidesListArgs, SlidesShowArgs,
};
use crate::cli::{ClusterArgs, Format, LabsArgs, LanguageArgs, OutputArgs};
use crate::commands::lab::{language, pick};
use crate::labs;
use crate::output::{blank, faint, good, json, line, strong, table};

use surroundings::Room;

/// Where slides are shown, if that port is free.
const PORT: u16 = 8890;

pub(crate) async fn run(command: SlidesCommand) -> anyhow::Result<ExitCode> {
    match command {
        SlidesCommand::List(args) => list(args)?,
        SlidesCommand::Show(args) => show(args).await?,
        SlidesCommand::Export(args) => write(args).await?,
        SlidesCommand::Lint(args) => return lint(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn load(args: &DecksArgs) -> anyhow::Result<(Labs, Decks)> {
    let DecksArgs {
        decks,
        labs: LabsArgs { labs },
    } = args;
    let labs = labs::load(labs.as_deref())?;
    let decks = match decks {
        Some(directory) => Decks::from_dir(directory, &labs)?,
        None => Decks::embedded(&labs)?,
    };
    Ok((labs, decks))
}

/// The deck of a name, or all.
fn choose<'a>(decks: &'a Decks, name: Option<&str>) -> anyhow::Result<Vec<&'a Deck>> {
    match name {
        Some(name) => Ok(vec![decks.get(name).map_err(|message| anyhow!(message))?]),
        None => Ok(decks.iter().collect()),
    }
}

fn list(args: SlidesListArgs) -> anyhow::Result<()> {
    let SlidesListArgs {
        decks,
        language: LanguageArgs { lang },
        output: OutputArgs { output },
    } = args;
    let language = language(lang.as_deref())?;
    let (_, decks) = load(&decks)?;
    if output == Format::Json {
        let decks: Vec<_> = decks.iter().map(|deck| value(deck, language)).collect();
        return json(&json!({"decks": decks}));
    }
    let rows: Vec<_> = decks
        .iter()
        .map(|deck| {
            vec![
                strong(&deck.name),
                deck.title.get(language).to_owned(),
                deck.slides.len().to_string(),
                format!("{} min", deck.minutes),
                deck.labs.join(", "),
            ]
        })
        .collect();
    let head = pick(
        language,
        "DECK/TITLE/SLIDES/TIME/LABS",
        "EXPOSÉ/TITRE/DIAPOS/DURÉE/ATELIERS",
    );
    table(&head.split('/').collect::<Vec<_>>(), &rows);
    blank();
    line(format_args!(
        "{}{}",
        pick(language, "Show one: ", "Pour en montrer un : "),
        strong("devops-lab slides show NAME")
    ));
    Ok(())
}

fn value(deck: &Deck, language: Language) -> Value {
    let slides = deck.slides.iter().map(|slide| {
        json!({
            "id": slide.id,
            "title": slide.title.get(language),
            "layout": slide.layout.name(),
            "seconds": slide.seconds,
            "steps": slide.steps,
        })
    });
    json!({
        "name": deck.name,
        "title": deck.title.get(language),
        "minutes": deck.minutes,
        "labs": deck.labs,
        "slides": slides.collect::<Vec<_>>(),
    })
}

async fn show(args: SlidesShowArgs) -> anyhow::Result<()> {
    let SlidesShowArgs {
        deck,
        port,
        both,
        class,
        password,
        decks: from,
        language: LanguageArgs { lang },
        cluster: ClusterArgs { name },
    } = args;
    let language = language(lang.as_deref())?;
    let (labs, decks) = load(&from)?;
    let only = match &deck {
        Some(name) => Some(decks.get(name).map_err(|message| anyhow!(message))?.clone()),
        None => None,
    };
    let listener = listen(port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let labs = Arc::new(labs);
    let room = Room::new(&class, password, &name, labs.clone());
    let show = Show::new(decks, only.as_ref(), languages(both, language), room);
    tell(&url, only.as_ref(), from.decks.as_deref(), language);
    let end = CancellationToken::new();
    let ended = end.clone();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ended.cancel();
    });
    if let Some(directory) = from.decks {
        let follower = show.clone();
        tokio::spawn(async move { follower.follow(directory, labs).await });
    }
    show.serve(listener, end).await?;
    Ok(())
}

async fn listen(port: Option<u16>) -> anyhow::Result<TcpListener> {
    let loopback = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(port) = port {
        return loopback(port).await.with_context(|| {
            format!("cannot listen on 127.0.0.1:{port}: choose another --port, or leave it out")
        });
    }
    match loopback(PORT).await {
        Ok(listener) => Ok(listener),
        Err(_) => loopback(0)
            .await
            .context("cannot listen on any port of 127.0.0.1"),
    }
}

fn languages(both: bool, language: Language) -> Languages {
    if both {
        Languages::Both
    } else {
        Languages::One(language)
    }
}

fn tell(url: &str, only: Option<&Deck>, followed: Option<&Path>, language: Language) {
    match only {
        Some(deck) => {
            line(strong(deck.title.get(language)));
            blank();
            let name = &deck.name;
            line(format_args!(
                "  {:<14}{url}/d/{name}/present",
                pick(language, "speaker", "vous")
            ));
            line(format_args!(
                "  {:<14}{url}/d/{name}",
                pick(language, "projector", "projecteur")
            ));
        }
        None => line(format_args!(
            "  {:<14}{url}/",
            pick(language, "all decks", "exposés")
        )),
    }
    blank();
    if let Some(directory) = followed {
        let text = pick(
            language,
            "is followed: a change is shown as it is saved.",
            "est suivi : chaque changement enregistré se voit aussitôt.",
        );
        line(format_args!("{} {text}", directory.display()));
    }
    line(faint(pick(
        language,
        "Open both; where you go in one, the other follows. ? lists the keys. Ctrl-C ends it.",
        "Ouvrez les deux : l’une suit l’autre. ? montre les touches. Ctrl-C arrête tout.",
    )));
}

async fn write(args: SlidesExportArgs) -> anyhow::Result<()> {
    let SlidesExportArgs {
        deck,
        html,
        pdf,
        both,
        decks,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let (_, decks) = load(&decks)?;
    let chosen = choose(&decks, deck.as_deref())?;
    let page = export::html(&chosen, languages(both, language));
    if let Some(file) = html {
        put(&file, page.as_bytes())?;
        line(file.display());
    }
    if let Some(file) = pdf {
        let bytes = export::pdf(&page).await?;
        put(&file, &bytes)?;
        line(file.display());
    }
    Ok(())
}

/// Writes a file whole or not at all.
fn put(file: &PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("failed to write {}", file.display());
    let parent = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut new = tempfile::NamedTempFile::new_in(parent).with_context(failed)?;
    new.write_all(bytes).with_context(failed)?;
    // A temporary file is its owner's alone; what is handed out is not.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let readable = fs::Permissions::from_mode(0o644);
        new.as_file()
            .set_permissions(readable)
            .with_context(failed)?;
    }
    new.persist(file).with_context(failed)?;
    Ok(())
}

fn lint(args: SlidesLintArgs) -> anyhow::Result<ExitCode> {
    let SlidesLintArgs {
        dir,
        decks: DecksArgs {
            decks,
            labs: LabsArgs { labs },
        },
        output: OutputArgs { output },
    } = args;
    let labs = labs::load(labs.as_deref())?;
    let found = match dir.or(decks) {
        Some(directory) => Decks::from_dir(&directory, &labs),
        None => Decks::embedded(&labs),
    };
    let (decks, problems) = match found {
        Ok(decks) => (decks, Vec::new()),
        Err(problems) => (Decks::default(), problems.0),
    };
    let folders: Vec<_> = decks.iter().map(|deck| &deck.folder).collect();
    match output {
        Format::Json => json(&json!({"decks": folders, "problems": problems}))?,
        Format::Text => {
            problems.iter().for_each(line);
            match (problems.len(), folders.len()) {
                (0, 1) => line(good("1 deck, no problem")),
                (0, decks) => line(good(&format!("{decks} decks, no problem"))),
                (1, _) => line("1 problem"),
                (problems, _) => line(format_args!("{problems} problems")),
            }
        }
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
