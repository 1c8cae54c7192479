//! `devops-lab bundle create`

use std::path::Path;

use anyhow::{Context as _, bail};
use indicatif::HumanBytes;
use lab_bundle::{BundleError, Draft, Program, check_space};
use lab_cluster::docker;
use lab_cluster::record::Home;
use lab_image::ImageRef;
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::pull::pull;
use tempfile::TempDir;

use super::{quoted, target};
use crate::cli::bundle::BundleCreateArgs;
use crate::output::{good, line, note, strong};
use crate::transfer::Transfer;

pub(super) async fn run(args: BundleCreateArgs) -> anyhow::Result<()> {
    let BundleCreateArgs {
        file,
        images,
        labs,
        decks,
    } = args;
    let home = Home::from_env()?;
    let names = images.iter().map(|text| ImageRef::parse(text));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let about = Program {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        target: target(),
    };
    let dir = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !dir.is_dir() {
        bail!(
            "{} is no directory: make it first, or write the bundle elsewhere",
            dir.display()
        );
    }
    let bar = Transfer::new("packing", 0).until_interrupted()?;
    let mut draft = Draft::new(about, &program)?;
    for dir in &labs {
        draft.labs(dir)?;
    }
    for dir in &decks {
        draft.decks(dir)?;
    }
    check_space(dir, draft.size())?;
    // Beside the bundle, which needs the same room a moment later.
    let staging = TempDir::with_prefix_in(".devops-lab-bundle-", dir)
        .with_context(|| format!("failed to write to {}", dir.display()))?;
    let layouts = Layouts {
        kept: Layout::open(&home.images())?,
        staged: Layout::open(staging.path())?,
        other: draft.size(),
        dir,
    };
    for name in &names {
        let gathered = tokio::select! {
            gathered = layouts.gather(name) => gathered,
            () = interrupted(&bar) => Err(BundleError::Interrupted.into()),
        };
        let layout = gathered?;
        draft.image(layout, &layout.require(name)?)?;
    }
    bar.set_size(draft.size());
    let written = tokio::task::block_in_place(|| draft.write(&file, &bar))?;
    drop(bar);
    let size = std::fs::metadata(&file)
        .map(|facts| facts.len())
        .unwrap_or_default();
    line(good(&format!("✓ {}  {}", file.display(), HumanBytes(size))));
    line(format_args!(
        "  devops-lab {} for {}, images: {}, labs: {}, decks: {}",
        written.program.version,
        written.program.target,
        written.images.len(),
        written.folders("labs").len(),
        written.folders("decks").len()
    ));
    line(format_args!(
        "Hand it out: {}",
        strong(&format!(
            "devops-lab class start --serve-bundle {}",
            quoted(&file)
        ))
    ));
    Ok(())
}

/// Ends when Ctrl-C was pressed.
async fn interrupted(bar: &Transfer) {
    use lab_bundle::Watch as _;
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    while !bar.stopped() {
        look.tick().await;
    }
}

/// Where images are found.
struct Layouts<'a> {
    /// The local image store.
    kept: Layout,
    /// What is fetched for the bundle only.
    staged: Layout,
    /// Bytes of everything else in the bundle.
    other: u64,
    dir: &'a Path,
}

impl Layouts<'_> {
    /// Sees to it that the image is in one of the layouts, and answers in which.
    async fn gather(&self, name: &ImageRef) -> anyhow::Result<&Layout> {
        let familiar = name.familiar();
        if name.is_local_registry() {
            let client = RegistryClient::new(name.registry());
            match client
                .image_manifest(name.repository(), name.tag_or_digest())
                .await
            {
                Ok((_, manifest)) => {
                    let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
                    self.room(layers)?;
                    note(format_args!("  {familiar}  from its registry"));
                    pull(&client, name, &self.staged).await?;
                    return Ok(&self.staged);
                }
                Err(error) if self.kept.get(name)?.is_none() => return Err(error.into()),
                Err(_) => {}
            }
        }
        if self.kept.get(name)?.is_some() {
            note(format_args!("  {familiar}  from the local image store"));
            return Ok(&self.kept);
        }
        note(format_args!("  {familiar}  from the Docker daemon"));
        docker::save(name, &self.staged, |size| self.room(size)).await?;
        Ok(&self.staged)
    }

    /// Once beside the bundle and once in it.
    fn room(&self, size: u64) -> anyhow::Result<()> {
        Ok(check_space(self.dir, self.other + 2 * size)?)
    }
}
