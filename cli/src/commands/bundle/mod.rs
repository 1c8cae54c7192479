//! `devops-lab bundle`: everything for a class in one file.

mod create;
mod load;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::HumanBytes;
use lab_bundle::{BundleError, open, verify};
use lab_classroom::download::{Came, download};
use serde::Serialize;

pub(crate) use load::push_loaded;

use super::lab::{language, pick};
use crate::class::url_of;
use crate::cli::bundle::{BundleCommand, BundleFileArgs, BundleGetArgs, BundleLsArgs};
use crate::cli::{Format, LanguageArgs, OutputArgs};
use crate::output::{good, json, line, note, report, strong, table};
use crate::transfer::Transfer;

/// Exit code of what was ended by Ctrl-C.
const INTERRUPTED: u8 = 130;
/// Pause before a broken download goes on.
const PAUSE: Duration = Duration::from_secs(2);

pub(crate) async fn run(command: BundleCommand) -> anyhow::Result<ExitCode> {
    let outcome = match command {
        BundleCommand::Create(args) => create::run(args).await,
        BundleCommand::Verify(args) => return verify_file(args),
        BundleCommand::Load(args) => load::run(args).await,
        BundleCommand::Ls(args) => list(&args),
        BundleCommand::Get(args) => get(args).await,
    };
    match outcome {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if is_interruption(&error) => {
            note("Interrupted; nothing was left behind.");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error),
    }
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(BundleError::Interrupted))
}

/// What this program runs on.
fn target() -> String {
    let system = match std::env::consts::OS {
        "linux" if cfg!(target_env = "musl") => "unknown-linux-musl",
        "linux" => "unknown-linux-gnu",
        "macos" => "apple-darwin",
        other => other,
    };
    format!("{}-{system}", std::env::consts::ARCH)
}

fn verify_file(args: BundleFileArgs) -> anyhow::Result<ExitCode> {
    let BundleFileArgs { file } = args;
    let bar = Transfer::new("verifying", open(&file)?.size());
    let (opened, damage) = verify(&file, &bar)?;
    drop(bar);
    if damage.is_empty() {
        line(good(&format!(
            "✓ {} is whole: {} files, {}",
            file.display(),
            opened.contents.entries.len(),
            HumanBytes(opened.size())
        )));
        return Ok(ExitCode::SUCCESS);
    }
    for found in damage {
        report(&found.into());
    }
    Ok(ExitCode::FAILURE)
}

/// A bundle as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    file: &'a Path,
    size_bytes: u64,
    #[serde(flatten)]
    contents: &'a lab_bundle::Contents,
}

fn list(args: &BundleLsArgs) -> anyhow::Result<()> {
    let BundleLsArgs {
        file,
        output: OutputArgs { output },
    } = args;
    let opened = open(file)?;
    let contents = &opened.contents;
    if let Format::Json = output {
        return json(&Listed {
            file,
            size_bytes: opened.size(),
            contents,
        });
    }
    let mut rows = Vec::new();
    let program = contents.program_entry().map_or(0, |entry| entry.size);
    let row = |kind: &str, name: &str, size: u64| {
        vec![kind.to_owned(), plain(name), HumanBytes(size).to_string()]
    };
    let version = format!(
        "{} for {}",
        contents.program.version, contents.program.target
    );
    rows.push(row("program", &version, program));
    for image in &contents.images {
        rows.push(row("image", &image.name, image.size));
    }
    for (kind, folder) in [("lab", "labs"), ("deck", "decks")] {
        for name in contents.folders(folder) {
            let inside = format!("{folder}/{name}/");
            let files = contents
                .entries
                .iter()
                .filter(|it| it.path.starts_with(&inside));
            rows.push(row(kind, name, files.map(|it| it.size).sum()));
        }
    }
    table(&["KIND", "NAME", "SIZE"], &rows);
    line(format_args!("{} in all", HumanBytes(opened.size())));
    Ok(())
}

/// What a stranger wrote must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}

async fn get(args: BundleGetArgs) -> anyhow::Result<()> {
    let BundleGetArgs {
        address,
        file,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let server = url_of(&address)?;
    let bar = Transfer::new(pick(language, "downloading", "téléchargement"), 0).then(pick(
        language,
        "verifying",
        "vérification",
    ));
    let came = download(&server, &file, PAUSE, &bar).await;
    drop(bar);
    let said = match came {
        Ok(Came::Now) => pick(language, "is here, whole", "est là, entier"),
        Ok(Came::Before) => pick(language, "was here already, whole", "était déjà là, entier"),
        Err(error) => return Err(error.into()),
    };
    line(good(&format!("✓ {} {said}", file.display())));
    line(format_args!(
        "{} {}",
        pick(language, "Next:", "Ensuite :"),
        strong(&format!("devops-lab bundle load {}", quoted(&file)))
    ));
    Ok(())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let simple = |letter: char| letter.is_alphanumeric() || "/._-+:@".contains(letter);
    if !text.is_empty() && text.chars().all(simple) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Where programs of a user go.
fn default_bin() -> anyhow::Result<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match home {
        Some(home) => Ok(PathBuf::from(home).join(".local/bin")),
        None => anyhow::bail!("HOME is not set: say with --bin DIR where the program goes"),
    }
}
