//! `devops-lab bundle load`, and the images of bundles on their way into registries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lab_bundle::{Loaded, Places, Put, load, open};
use lab_checks::language::Language;
use lab_cluster::record::{Home, Record, write_atomically};
use lab_image::ImageRef;
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::push::push;

use super::{default_bin, target};
use crate::cli::LanguageArgs;
use crate::cli::bundle::BundleLoadArgs;
use crate::commands::lab::{language, pick};
use crate::output::{faint, good, line, note, strong, warn};
use crate::transfer::Transfer;

pub(super) async fn run(args: BundleLoadArgs) -> anyhow::Result<()> {
    let BundleLoadArgs {
        file,
        bin,
        no_program,
        name,
        language: LanguageArgs { lang },
    } = args;
    let language = language(lang.as_deref())?;
    let home = Home::from_env()?;
    // Asked before anything is done: a cluster that is not there is no reason to load half.
    let cluster = match &name {
        Some(name) => {
            let (_, record) = crate::commands::open(name)?;
            lab_cluster::registry::verify(&record).await?;
            Some(record)
        }
        None => None,
    };
    let bin = match (no_program, bin) {
        (true, _) => None,
        (false, Some(bin)) => Some(bin),
        (false, None) => Some(default_bin()?),
    };
    let places = Places {
        bin,
        home: home.path().to_owned(),
        images: home.images(),
        target: target(),
    };
    let bar = Transfer::new(pick(language, "loading", "chargement"), open(&file)?.size())
        .until_interrupted()?;
    let loaded = tokio::task::block_in_place(|| load(&file, &places, &bar))?;
    drop(bar);
    remember(&home, &loaded.images)?;
    tell(&loaded, &home, language);
    match cluster {
        Some(record) => push_all(&home, &record, &loaded.images, language).await?,
        None if !loaded.images.is_empty() => line(faint(pick(
            language,
            "The images wait in the local image store; `devops-lab start` pushes them to the cluster's registry.",
            "Les images attendent dans le magasin local ; `devops-lab start` les envoie au registre du cluster.",
        ))),
        None => {}
    }
    Ok(())
}

fn tell(loaded: &Loaded, home: &Home, language: Language) {
    let Loaded {
        contents,
        program,
        labs,
        decks,
        images,
    } = loaded;
    let became = |put: Put| match (put, language) {
        (Put::New, Language::En) => "new",
        (Put::New, Language::Fr) => "nouveau",
        (Put::Same, Language::En) => "was there already",
        (Put::Same, Language::Fr) => "déjà là",
        (Put::Replaced, Language::En) => "replaced",
        (Put::Replaced, Language::Fr) => "remplacé",
        (Put::NotForHere, Language::En) => "not for this machine",
        (Put::NotForHere, Language::Fr) => "pas pour cette machine",
    };
    line(good(&format!(
        "✓ {} devops-lab {}",
        pick(language, "loaded:", "chargé :"),
        super::plain(&contents.program.version)
    )));
    let item = |kind: &str, what: &Path, put: Put| {
        line(format_args!(
            "  {kind:<10}{}  ({})",
            what.display(),
            became(put)
        ));
    };
    if let Some((path, put)) = program {
        item(pick(language, "program", "programme"), path, *put);
    }
    for (path, put) in labs {
        item("lab", path, *put);
    }
    for (path, put) in decks {
        item(pick(language, "deck", "diapos"), path, *put);
    }
    for name in images {
        line(format_args!("  {:<10}{}", "image", name.familiar()));
    }
    let replaced = |items: &[(PathBuf, Put)]| items.iter().any(|(_, put)| *put == Put::Replaced);
    if replaced(labs) || replaced(decks) {
        line(warn(&format!(
            "! {} {}",
            pick(
                language,
                "What was there before is kept in",
                "Ce qui était là avant est conservé dans"
            ),
            home.path().join("replaced").display()
        )));
    }
    if !labs.is_empty() {
        let dir = home.path().join("labs");
        line(format_args!(
            "{} {}",
            pick(language, "Use the labs:", "Pour utiliser les labs :"),
            strong(&format!("export DEVOPS_LAB_LABS={}", super::quoted(&dir)))
        ));
    }
    match program {
        Some((path, Put::NotForHere)) => line(warn(&format!(
            "! {} {}; {} {}",
            pick(
                language,
                "the program in it is for",
                "le programme qu’il contient est pour"
            ),
            super::plain(&contents.program.target),
            pick(
                language,
                "nothing was installed as",
                "rien n’a été installé comme"
            ),
            path.display()
        ))),
        Some((path, _)) if !is_on_path(path) => {
            let bin = path.parent().unwrap_or(path);
            line(warn(&format!(
                "! {} {}",
                bin.display(),
                pick(
                    language,
                    "is not on your PATH. Type:",
                    "n’est pas dans votre PATH. Tapez :"
                )
            )));
            line(strong(&format!(
                "  export PATH={}:\"$PATH\"",
                super::quoted(bin)
            )));
        }
        _ => {}
    }
}

/// True where the shell finds programs beside this one.
fn is_on_path(program: &Path) -> bool {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    program.parent().is_some_and(|dir| {
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        std::env::split_paths(&dirs).any(|one| one.canonicalize().is_ok_and(|one| one == dir))
    })
}

/// Which images came in bundles: they are pushed to clusters that start.
fn list_of(home: &Home) -> PathBuf {
    home.path().join("bundled-images.json")
}

fn remember(home: &Home, images: &[ImageRef]) -> anyhow::Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let mut all = remembered(home);
    all.extend(images.iter().map(ToString::to_string));
    let path = list_of(home);
    write_atomically(&path, &serde_json::to_vec_pretty(&all)?, 0o644)
        .with_context(|| format!("failed to write {}", path.display()))
}

fn remembered(home: &Home) -> BTreeSet<String> {
    let read = std::fs::read(list_of(home)).ok();
    read.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

async fn push_all(
    home: &Home,
    record: &Record,
    images: &[ImageRef],
    language: Language,
) -> anyhow::Result<()> {
    let layout = Layout::open(&home.images())?;
    let registry = format!("localhost:{}", record.ports.registry);
    let client = RegistryClient::new(&registry);
    for image in images {
        push(&layout, image, &client, &|_| ()).await?;
        let tag = image.tag().map_or_else(
            || format!("@{}", image.tag_or_digest()),
            |tag| format!(":{tag}"),
        );
        line(format_args!(
            "  {} {registry}/{}{tag}",
            pick(language, "pushed", "envoyé"),
            image.repository()
        ));
    }
    Ok(())
}

/// Pushes the images of loaded bundles to a cluster that has just started, once per image and
/// cluster: what a student deletes from her registry stays deleted. Trouble is said and is no
/// reason for the cluster to fail.
pub(crate) async fn push_loaded(home: &Home, record: &Record) {
    let wanted = remembered(home);
    if wanted.is_empty() {
        return;
    }
    let done = home.cluster(&record.name).join("bundled-images.json");
    let text = std::fs::read(&done).ok();
    let pushed: BTreeSet<String> = text
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let missing = wanted
        .difference(&pushed)
        .filter_map(|name| ImageRef::parse(name).ok());
    let missing: Vec<ImageRef> = missing.collect();
    if missing.is_empty() {
        return;
    }
    let language = language(None).unwrap_or(Language::En);
    let outcome = async {
        push_all(home, record, &missing, language).await?;
        write_atomically(&done, &serde_json::to_vec_pretty(&wanted)?, 0o644)?;
        anyhow::Ok(())
    };
    if let Err(error) = outcome.await {
        note(format_args!(
            "the images of the bundle are not in the registry yet ({error:#}); start the cluster again to try once more"
        ));
    }
}
