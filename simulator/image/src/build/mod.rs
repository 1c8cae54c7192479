//! Builds an image from a Dockerfile without Docker: for images that only put files on a
//! base, in one stage or in several.
//!
//! Same input, same digest: files have no times and no owners, maps are sorted, and the moment
//! of creation is the epoch unless `SOURCE_DATE_EPOCH` says another.
//! <https://reproducible-builds.org/docs/source-date-epoch/>
//!
//! Layers are stored as plain tar. Compressing them costs more time than copying the bytes over
//! loopback; and plain bytes stay the same when a new version of a compressor packs differently.

mod builder;
mod copy;
mod owner;
mod stages;
mod variables;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use self::builder::Builder;
use self::stages::{Made, Source, Sources, Stage};
use self::variables::Variables;
use crate::base::{self, BaseError};
use crate::client::RegistryClient;
use crate::dockerfile::{self, Instruction, Problem};
use crate::layout::{Layout, LayoutError, LocalImage};
use crate::pull::{self, PullError};
use crate::rootfs::LayerError;
use crate::spec::History;
use crate::{Digest, ImageRef, InvalidReference, on_blocking_thread, store};

/// What to build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Directory with the files to copy.
    pub context_dir: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// Name of the image.
    pub tag: ImageRef,
    /// Values for `ARG`, by name.
    pub build_args: BTreeMap<String, String>,
    /// Moment of creation in seconds since the epoch, instead of the epoch itself.
    pub source_date_epoch: Option<i64>,
    /// The stage to build, by name or number, instead of the last one.
    pub target: Option<String>,
    /// Labels beside those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
}

/// Where the images after `FROM` come from, beside `scratch` and the local store.
#[derive(Clone, Debug, Default)]
pub struct BaseImages {
    /// The program that [`base::RUNTIME_IMAGE`] is made from.
    pub runtime_executable: Option<PathBuf>,
    /// The local registry.
    pub registry: Option<RegistryClient>,
}

/// An image that was built, in the local store.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// Its name.
    pub name: ImageRef,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Digest of its configuration (the image's id).
    pub config_digest: Digest,
    /// Bytes of its configuration and layers.
    pub size_bytes: u64,
    /// What its author should know.
    pub notes: Vec<Note>,
}

/// A remark about a Dockerfile that was built nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Line number, from 1; none for a remark about the whole.
    pub line: Option<usize>,
    /// The remark.
    pub text: String,
}

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile or `.dockerignore` could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line of the Dockerfile is wrong.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// The Dockerfile.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
    /// There is no stage of this name.
    #[error("{} has no stage {target:?}{}", file.display(), known(stages))]
    Target {
        /// The Dockerfile.
        file: PathBuf,
        /// The stage that was asked for.
        target: String,
        /// The stages that have names.
        stages: Vec<String>,
    },
    /// The base image's name is wrong.
    #[error("{}:{line}: FROM names no image", file.display())]
    BaseName {
        /// The Dockerfile.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The cause.
        #[source]
        source: InvalidReference,
    },
    /// The base image is nowhere to be had.
    #[error(
        "{}:{line}: base image {image} is neither in the local store nor in this cluster's registry; use {}, or push it there first",
        file.display(),
        base::RUNTIME_IMAGE
    )]
    BaseUnknown {
        /// The Dockerfile.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The image.
        image: String,
    },
    /// The base image could not be pulled.
    #[error("{}:{line}: cannot get the base image", file.display())]
    BasePull {
        /// The Dockerfile.
        file: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// The cause.
        #[source]
        source: Box<PullError>,
    },
    /// The built-in base image could not be made.
    #[error("cannot make the base image")]
    BaseMake(#[source] BaseError),
    /// A layer of the base image could not be read.
    #[error("cannot read a layer of the base image")]
    BaseLayer(#[source] LayerError),
    /// The context could not be read.
    #[error("cannot read the build's directory {}", path.display())]
    Context {
        /// The directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The local store failed.
    #[error("cannot store the image")]
    Store(#[source] LayoutError),
    /// The moment of creation is out of range.
    #[error("SOURCE_DATE_EPOCH={0} is not a moment in time; it is seconds since 1970")]
    Epoch(i64),
}

/// Builds an image into the local store.
///
/// # Errors
/// Where the Dockerfile asks for something that is wrong or needs Docker (with file and line),
/// the base image is not to be had, or files cannot be read or written. The name then stands for
/// what it stood for before.
pub async fn build(
    request: &BuildRequest,
    bases: &BaseImages,
    out: &Layout,
) -> Result<BuiltImage, BuildError> {
    let path = request.dockerfile.clone();
    let text = on_blocking_thread(move || read_text(&path)).await?;
    let parsed = dockerfile::parse(&text);
    let (steps, escape) = parsed.map_err(|(line, problem)| BuildError::Line {
        file: request.dockerfile.clone(),
        line,
        problem,
    })?;
    let mut variables = Variables::new(escape, request.build_args.clone());
    let (before, stages) = stages::split(steps);
    for step in before {
        if let Instruction::Arg { variables: found } = &step.instruction {
            let located = locate(&request.dockerfile, step.line);
            variables.declare_global(found).map_err(located)?;
        }
    }
    let (made, mut notes, variables) = run(request, bases, out, &stages, variables).await?;
    for name in variables.unused() {
        notes.push(Note {
            line: None,
            text: format!("no ARG declares the build argument {name}"),
        });
    }
    let (request, out) = (request.clone(), out.clone());
    on_blocking_thread(move || finish(&request, &out, made, notes)).await
}

/// Builds every stage that is needed; what the wanted one made.
async fn run(
    request: &BuildRequest,
    bases: &BaseImages,
    out: &Layout,
    stages: &[Stage],
    mut variables: Variables,
) -> Result<(Made, Vec<Note>, Variables), BuildError> {
    let wanted = request.target.as_deref();
    let target = stages::target(stages, wanted).ok_or_else(|| BuildError::Target {
        file: request.dockerfile.clone(),
        target: wanted.unwrap_or_default().to_owned(),
        stages: stages
            .iter()
            .filter_map(|stage| stage.name.clone())
            .collect(),
    })?;
    let images: Vec<String> = stages
        .iter()
        .map(|stage| {
            let located = locate(&request.dockerfile, stage.line);
            variables.expand(&stage.image).map_err(located)
        })
        .collect::<Result<_, _>>()?;
    let mut made: BTreeMap<usize, Made> = BTreeMap::new();
    let mut notes = Vec::new();
    for current in stages::needed(stages, target, &images) {
        let stage = &stages[current];
        let image = &images[current];
        let earlier = stages::earlier(stages, current, image).filter(|at| made.contains_key(at));
        let base = match earlier {
            Some(earlier) => made.get(&earlier).cloned(),
            None => resolve_base(request, stage.line, image, bases, out)
                .await?
                .map(Made::from),
        };
        let sources = sources(request, bases, out, stages, current, &made).await?;
        let (request, out) = (request.clone(), out.clone());
        let (steps, own) = (stage.steps.clone(), variables.next_stage());
        let (stage_made, remarks, after) = on_blocking_thread(move || {
            let builder = Builder::new(&request, &out, base, &sources, own)?;
            builder.run(&steps)
        })
        .await?;
        made.insert(current, stage_made);
        notes.extend(remarks);
        variables = after.next_stage();
    }
    let made = made.remove(&target).expect("the wanted stage is needed");
    Ok((made, notes, variables))
}

/// What the `COPY --from`s of a stage copy from, unpacked.
async fn sources(
    request: &BuildRequest,
    bases: &BaseImages,
    out: &Layout,
    stages: &[Stage],
    current: usize,
    made: &BTreeMap<usize, Made>,
) -> Result<Sources, BuildError> {
    let mut sources = Sources::new();
    for step in &stages[current].steps {
        let Some(word) = stages::copied_from(step) else {
            continue;
        };
        if sources.contains_key(word) {
            continue;
        }
        let stage = stages::earlier(stages, current, word).and_then(|at| made.get(&at).cloned());
        let from = match stage {
            Some(stage) => Some(stage),
            None => resolve_base(request, step.line, word, bases, out)
                .await?
                .map(Made::from),
        };
        let from = from.unwrap_or_else(Made::scratch);
        let out = out.clone();
        let source = on_blocking_thread(move || Source::of_image(&from, &out)).await?;
        sources.insert(word.to_owned(), source);
    }
    Ok(sources)
}

/// Adds the labels of the command line and stores the image under its name.
fn finish(
    request: &BuildRequest,
    out: &Layout,
    made: Made,
    notes: Vec<Note>,
) -> Result<BuiltImage, BuildError> {
    let Made { mut config, layers } = made;
    if !request.labels.is_empty() {
        let words = request.labels.iter();
        let words: Vec<_> = words
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        config.history.push(History {
            created: config.created.clone(),
            created_by: Some(format!("LABEL {}", words.join(" "))),
            empty_layer: true,
        });
        config.config.labels.extend(request.labels.clone());
    }
    let name = request.tag.clone();
    let stored = store::store_image(out, &name, &config, layers);
    let (descriptor, manifest) = stored.map_err(BuildError::Store)?;
    let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
    Ok(BuiltImage {
        name,
        digest: descriptor.digest,
        size_bytes: manifest.config.size + layers,
        config_digest: manifest.config.digest,
        notes,
    })
}

/// What could have been meant.
fn known(stages: &[String]) -> String {
    match stages {
        [] => "; its stages have no names (FROM image AS name)".to_owned(),
        names => format!("; there are: {}", names.join(", ")),
    }
}

/// The base image in the local store; `None` for `scratch`.
async fn resolve_base(
    request: &BuildRequest,
    line: usize,
    image: &str,
    bases: &BaseImages,
    out: &Layout,
) -> Result<Option<LocalImage>, BuildError> {
    if image == "scratch" {
        return Ok(None);
    }
    let file = request.dockerfile.clone();
    let name = ImageRef::parse(image).map_err(|source| BuildError::BaseName {
        file: file.clone(),
        line,
        source,
    })?;
    if let Some(executable) = &bases.runtime_executable
        && name == base::runtime_image()
    {
        let made = base::base_image(executable, out).await;
        return made.map(Some).map_err(BuildError::BaseMake);
    }
    if let Some(client) = &bases.registry
        && name.is_local_registry()
    {
        // The registry first: its tag may have moved since the last build.
        let pulled = pull::pull(client, &name, out).await;
        return pulled.map(Some).map_err(|source| BuildError::BasePull {
            file,
            line,
            source: Box::new(source),
        });
    }
    let found = out.get(&name).map_err(BuildError::Store)?;
    found.map(Some).ok_or(BuildError::BaseUnknown {
        file,
        line,
        image: name.to_string(),
    })
}
fn locate(file: &Path, line: usize) -> impl Fn(Problem) -> BuildError {
    let file = file.to_owned();
    move |problem| BuildError::Line {
        file: file.clone(),
        line,
        problem,
    }
}

fn read_text(path: &Path) -> Result<String, BuildError> {
    std::fs::read_to_string(path).map_err(|source| BuildError::Read {
        path: path.to_owned(),
        source,
    })
}
