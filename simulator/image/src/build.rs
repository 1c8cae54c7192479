//! Builds an image from a Dockerfile without Docker: for images that only put files on a base.
//!
//! Same input, same digest: files have no times and no owners, maps are sorted, and the moment
//! of creation is the epoch unless `SOURCE_DATE_EPOCH` says another.
//! <https://reproducible-builds.org/docs/source-date-epoch/>
//!
//! Layers are stored as plain tar. Compressing them costs more time than copying the bytes over
//! loopback; and plain bytes stay the same when a new version of a compressor packs differently.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{self, BaseError};
use crate::client::RegistryClient;
use crate::context::{Context, Item, NoSource};
use crate::dockerfile::{self, Instruction, Invocation, Problem, Step};
use crate::ignore::Ignore;
use crate::layout::{Layout, LayoutError, LocalImage};
use crate::pull::{self, PullError};
use crate::rootfs::LayerError;
use crate::spec::{self, Descriptor, Empty, History, ImageConfig, Manifest};
use crate::tarball::{self, Entries, Entry};
use crate::tree::{self, Tree};
use crate::{Digest, ImageRef, InvalidReference, layer, on_blocking_thread};

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
    let mut variables = Variables {
        escape,
        given: request.build_args.clone(),
        ..Variables::default()
    };
    let mut steps = steps.into_iter();
    let mut base = None;
    for step in steps.by_ref() {
        let located = locate(&request.dockerfile, step.line);
        match &step.instruction {
            Instruction::Arg { variables: found } => {
                variables.declare_global(found).map_err(located)?;
            }
            Instruction::From { image } => {
                let image = variables.expand(image).map_err(located)?;
                base = resolve_base(request, step.line, &image, bases, out).await?;
                break;
            }
            _ => {}
        }
    }
    let steps: Vec<Step> = steps.collect();
    let (request, out) = (request.clone(), out.clone());
    on_blocking_thread(move || {
        let builder = Builder::new(&request, &out, base, variables)?;
        builder.run(&steps)
    })
    .await
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

/// What `$NAME` stands for.
#[derive(Clone, Debug, Default)]
struct Variables {
    escape: char,
    /// From the command line.
    given: BTreeMap<String, String>,
    /// Names from the command line that some `ARG` declares.
    used: BTreeSet<String>,
    /// Declared before `FROM`; seen after it only where declared again.
    global: BTreeMap<String, String>,
    /// Declared after `FROM`.
    args: BTreeMap<String, String>,
    /// The image's environment, which wins.
    env: BTreeMap<String, String>,
    begun: bool,
}

impl Variables {
    fn expand(&self, word: &str) -> Result<String, Problem> {
        let lookup = |name: &str| {
            let declared = if self.begun { &self.args } else { &self.global };
            self.env.get(name).or_else(|| declared.get(name)).cloned()
        };
        dockerfile::expand(word, self.escape, &lookup)
    }

    fn value(&mut self, name: &str, default: Option<&String>) -> Result<Option<String>, Problem> {
        if let Some(given) = self.given.get(name) {
            self.used.insert(name.to_owned());
            return Ok(Some(given.clone()));
        }
        default.map(|default| self.expand(default)).transpose()
    }

    fn declare_global(&mut self, found: &[(String, Option<String>)]) -> Result<(), Problem> {
        for (name, default) in found {
            if let Some(value) = self.value(name, default.as_ref())? {
                self.global.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn declare(&mut self, found: &[(String, Option<String>)]) -> Result<(), Problem> {
        for (name, default) in found {
            let value = self.value(name, default.as_ref())?;
            if let Some(value) = value.or_else(|| self.global.get(name).cloned()) {
                self.args.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    fn unused(&self) -> impl Iterator<Item = &String> {
        self.given.keys().filter(|name| !self.used.contains(*name))
    }
}

/// A build after its `FROM`.
struct Builder<'a> {
    request: &'a BuildRequest,
    out: &'a Layout,
    context: Context,
    variables: Variables,
    config: ImageConfig,
    layers: Vec<Descriptor>,
    tree: Tree,
    created: String,
    has_cmd: bool,
    notes: Vec<Note>,
}

impl<'a> Builder<'a> {
    fn new(
        request: &'a BuildRequest,
        out: &'a Layout,
        base: Option<LocalImage>,
        variables: Variables,
    ) -> Result<Self, BuildError> {
        let ignore = read_ignore(request)?;
        let context = Context::read(&request.context_dir, ignore);
        let context = context.map_err(|source| BuildError::Context {
            path: request.context_dir.clone(),
            source,
        })?;
        let epoch = request.source_date_epoch.unwrap_or(0);
        let created = jiff::Timestamp::from_second(epoch);
        let created = created.map_err(|_| BuildError::Epoch(epoch))?.to_string();
        let mut builder = Self {
            request,
            out,
            context,
            variables,
            config: ImageConfig::scratch(),
            layers: Vec::new(),
            tree: Tree::default(),
            created,
            has_cmd: false,
            notes: Vec::new(),
        };
        builder.variables.begun = true;
        if let Some(base) = base {
            builder.start_from(base)?;
        }
        builder.config.created = Some(builder.created.clone());
        Ok(builder)
    }

    fn start_from(&mut self, base: LocalImage) -> Result<(), BuildError> {
        for descriptor in &base.manifest.layers {
            let path = self.out.blob_path(&descriptor.digest);
            let file = std::fs::File::open(&path);
            let file = file.map_err(|source| BuildError::Read { path, source })?;
            let added = layer::decompressed(file).and_then(|it| self.tree.add_layer(it));
            added.map_err(BuildError::BaseLayer)?;
        }
        for entry in &base.config.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.variables.env.insert(name.to_owned(), value.to_owned());
        }
        self.config = base.config;
        self.layers = base.manifest.layers;
        Ok(())
    }

    fn run(mut self, steps: &[Step]) -> Result<BuiltImage, BuildError> {
        for step in steps {
            let made = self.apply(step)?;
            self.config.history.push(History {
                created: Some(self.created.clone()),
                created_by: Some(step.text.clone()),
                empty_layer: !made,
            });
        }
        let unused: Vec<String> = self.variables.unused().cloned().collect();
        for name in unused {
            self.note(None, format!("no ARG declares the build argument {name}"));
        }
        self.finish()
    }

    /// Carries an instruction out; true where it made a layer.
    fn apply(&mut self, step: &Step) -> Result<bool, BuildError> {
        let located = locate(&self.request.dockerfile, step.line);
        match &step.instruction {
            Instruction::Copy {
                sources,
                destination,
                mode,
                verbatim,
            } => {
                let words = sources.iter().chain([destination]);
                let expanded: Result<Vec<String>, Problem> = words
                    .map(|word| self.expand_unless(word, *verbatim))
                    .collect();
                let entries = expanded.and_then(|words| self.copied(&words, *mode));
                self.add_layer(&entries.map_err(located)?)?;
                Ok(true)
            }
            Instruction::Workdir(path) => {
                let path = self.variables.expand(path).map_err(located)?;
                self.change_directory(&path)
            }
            instruction => {
                self.configure(step.line, instruction).map_err(located)?;
                Ok(false)
            }
        }
    }

    /// Instructions that only change the configuration.
    fn configure(&mut self, line: usize, instruction: &Instruction) -> Result<(), Problem> {
        match instruction {
            Instruction::Arg { variables } => self.variables.declare(variables)?,
            Instruction::Env(pairs) => {
                for (name, value) in self.expand_pairs(pairs)? {
                    self.set_env(&name, &value);
                }
            }
            Instruction::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                self.config.config.labels.extend(pairs);
            }
            Instruction::Expose(ports) => {
                for port in ports {
                    let port = exposed_port(&self.variables.expand(port)?)?;
                    self.config.config.exposed_ports.insert(port, Empty {});
                }
            }
            Instruction::User(user) => self.config.config.user = self.variables.expand(user)?,
            Instruction::StopSignal(signal) => {
                self.config.config.stop_signal = stop_signal(&self.variables.expand(signal)?)?;
            }
            Instruction::Cmd(invocation) => {
                self.config.config.cmd = self.command(line, invocation);
                self.has_cmd = true;
            }
            Instruction::Entrypoint(invocation) => {
                self.config.config.entrypoint = self.command(line, invocation);
                // The base's arguments were for the base's program.
                if !self.has_cmd {
                    self.config.config.cmd.clear();
                }
            }
            Instruction::Healthcheck => {
                let text =
                    "HEALTHCHECK is ignored; in a cluster, probes are in the pod's specification";
                self.note(Some(line), text.to_owned());
            }
            // Handled before: they need more than the configuration, or stand before the rest.
            Instruction::From { .. } | Instruction::Copy { .. } | Instruction::Workdir(_) => {}
        }
        Ok(())
    }

    fn command(&mut self, line: usize, invocation: &Invocation) -> Vec<String> {
        match invocation {
            Invocation::Exec(words) => words.clone(),
            Invocation::Shell(text) => {
                if !self.tree.exists("bin/sh") {
                    let text = "a command line needs /bin/sh, which this image does not have; write it as a list: [\"program\", \"argument\"]";
                    self.note(Some(line), text.to_owned());
                }
                vec!["/bin/sh".to_owned(), "-c".to_owned(), text.clone()]
            }
        }
    }

    fn set_env(&mut self, name: &str, value: &str) {
        let prefix = format!("{name}=");
        let entry = format!("{name}={value}");
        let env = &mut self.config.config.env;
        match env.iter_mut().find(|entry| entry.starts_with(&prefix)) {
            Some(found) => *found = entry,
            None => env.push(entry),
        }
        self.variables.env.insert(name.to_owned(), value.to_owned());
    }

    fn expand_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, Problem> {
        // All of one line see the values from before it.
        let expand = |word: &String| self.variables.expand(word);
        let pair = |(name, value): &(String, String)| Ok((expand(name)?, expand(value)?));
        pairs.iter().map(pair).collect()
    }

    fn expand_unless(&self, word: &str, verbatim: bool) -> Result<String, Problem> {
        if verbatim {
            Ok(word.to_owned())
        } else {
            self.variables.expand(word)
        }
    }

    /// Sets the working directory, and makes it where the image does not have it.
    fn change_directory(&mut self, path: &str) -> Result<bool, BuildError> {
        let path = tree::join(&self.config.config.working_dir, path);
        self.config.config.working_dir = format!("/{path}");
        if self.tree.is_directory(&path) {
            return Ok(false);
        }
        let mut entries = Entries::new();
        let place = self.tree.resolve(&path);
        self.add_parents(&mut entries, &place);
        entries.insert(place, Entry::Directory(0o755));
        self.add_layer(&entries)?;
        Ok(true)
    }

    /// The entries of a `COPY` of all but the last word to the last one.
    fn copied(&self, words: &[String], mode: Option<u32>) -> Result<Entries, Problem> {
        let (destination, sources) = words.split_last().ok_or(Problem::Empty)?;
        let mut items = Vec::new();
        for source in sources {
            let selected = self.context.select(source);
            items.extend(selected.map_err(|reason| self.no_source(reason, source))?);
        }
        let place = tree::join(&self.config.config.working_dir, destination);
        let into_directory = destination.ends_with('/')
            || destination == "."
            || destination.ends_with("/.")
            || self.tree.is_directory(&place);
        if items.len() > 1 && !into_directory {
            return Err(Problem::DestinationNotDirectory {
                destination: destination.clone(),
            });
        }
        let place = self.tree.resolve(&place);
        let mut entries = Entries::new();
        for item in &items {
            self.copy_item(&mut entries, item, &place, into_directory, mode)?;
        }
        let paths: Vec<String> = entries.keys().cloned().collect();
        for path in paths {
            self.add_parents(&mut entries, &path);
        }
        Ok(entries)
    }

    fn copy_item(
        &self,
        entries: &mut Entries,
        item: &str,
        place: &str,
        into_directory: bool,
        mode: Option<u32>,
    ) -> Result<(), Problem> {
        let at = |path: &str| self.tree.resolve(&tree::join(place, path));
        match self.context.item(item) {
            // A directory stands for what is in it.
            Some(Item::Directory) => {
                if !place.is_empty() && !self.tree.is_directory(place) {
                    entries.insert(place.to_owned(), Entry::Directory(0o755));
                }
                for (path, found) in self.context.below(item) {
                    let source = format!("{item}/{path}");
                    let entry = self.entry(source.trim_start_matches('/'), found, mode)?;
                    let known = *found == Item::Directory && self.tree.is_directory(&at(path));
                    if !known {
                        entries.insert(at(path), entry);
                    }
                }
            }
            Some(found) => {
                let name = item.rsplit('/').next().unwrap_or(item);
                let path = if into_directory {
                    at(name)
                } else {
                    place.to_owned()
                };
                entries.insert(path, self.entry(item, &found, mode)?);
            }
            None => return Err(self.no_source(NoSource::Missing, item)),
        }
        Ok(())
    }

    fn entry(&self, path: &str, item: &Item, mode: Option<u32>) -> Result<Entry, Problem> {
        Ok(match item {
            Item::Directory => Entry::Directory(0o755),
            // Modes differ between machines (umask, Windows); what matters is who may run it.
            Item::File { executable } => {
                let usual = if *executable { 0o755 } else { 0o644 };
                Entry::File(self.context.path(path), mode.unwrap_or(usual))
            }
            Item::Symlink(target) => Entry::Symlink(target.clone()),
            Item::Other => {
                return Err(Problem::SourceKind {
                    path: path.to_owned(),
                });
            }
        })
    }

    fn no_source(&self, reason: NoSource, source: &str) -> Problem {
        let path = source.to_owned();
        match reason {
            NoSource::Outside => Problem::SourceOutside { path },
            NoSource::Ignored => Problem::SourceIgnored { path },
            NoSource::Missing => Problem::SourceMissing {
                path,
                context: self.request.context_dir.display().to_string(),
            },
        }
    }

    /// Adds the directories above a path that the image does not have.
    fn add_parents(&self, entries: &mut Entries, path: &str) {
        for (index, _) in path.match_indices('/') {
            let parent = &path[..index];
            if !self.tree.is_directory(parent) {
                let parent = entries.entry(parent.to_owned());
                parent.or_insert(Entry::Directory(0o755));
            }
        }
    }

    fn add_layer(&mut self, entries: &Entries) -> Result<(), BuildError> {
        let written = self
            .out
            .write_blob(spec::LAYER_TAR, |writer| tarball::write(entries, writer));
        let descriptor = written.map_err(BuildError::Store)?;
        self.tree.add_entries(entries);
        // Of a plain archive, the stored bytes are the content.
        let diff_ids = &mut self.config.rootfs.diff_ids;
        diff_ids.push(descriptor.digest.clone());
        self.layers.push(descriptor);
        Ok(())
    }

    fn note(&mut self, line: Option<usize>, text: String) {
        self.notes.push(Note { line, text });
    }

    fn finish(self) -> Result<BuiltImage, BuildError> {
        let name = self.request.tag.clone();
        let stored = store_image(self.out, &name, &self.config, self.layers);
        let (descriptor, manifest) = stored.map_err(BuildError::Store)?;
        let layers: u64 = manifest.layers.iter().map(|layer| layer.size).sum();
        Ok(BuiltImage {
            name,
            digest: descriptor.digest,
            size_bytes: manifest.config.size + layers,
            config_digest: manifest.config.digest,
            notes: self.notes,
        })
    }
}

/// Writes an image's documents and lets a name stand for it.
pub(crate) fn store_image(
    out: &Layout,
    name: &ImageRef,
    config: &ImageConfig,
    layers: Vec<Descriptor>,
) -> Result<(Descriptor, Manifest), LayoutError> {
    let config = out.put_blob(spec::CONFIG, &to_json(config))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(spec::MANIFEST.to_owned()),
        config,
        layers,
        annotations: BTreeMap::new(),
    };
    let descriptor = out.put_blob(spec::MANIFEST, &to_json(&manifest))?;
    out.set(name, descriptor.clone())?;
    Ok((descriptor, manifest))
}

fn to_json(document: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have text keys and no failing parts")
}

fn exposed_port(text: &str) -> Result<String, Problem> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let valid = port.parse::<u16>().is_ok_and(|port| port > 0)
        && matches!(protocol, "tcp" | "udp" | "sctp");
    if valid {
        Ok(format!("{port}/{protocol}"))
    } else {
        Err(Problem::Value {
            value: text.to_owned(),
            expected: "a port, such as 8080 or 8080/tcp",
        })
    }
}

fn stop_signal(text: &str) -> Result<String, Problem> {
    let number = text
        .parse::<u8>()
        .is_ok_and(|number| (1..=64).contains(&number));
    let name = text.strip_prefix("SIG").is_some_and(|name| {
        name.bytes()
            .next()
            .is_some_and(|first| first.is_ascii_uppercase())
    });
    if number || name {
        Ok(text.to_owned())
    } else {
        Err(Problem::Value {
            value: text.to_owned(),
            expected: "a signal, such as SIGTERM or 15",
        })
    }
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

/// The rules for this Dockerfile (`NAME.dockerignore` beside it), or for the directory.
fn read_ignore(request: &BuildRequest) -> Result<Ignore, BuildError> {
    let mut own = request.dockerfile.clone().into_os_string();
    own.push(".dockerignore");
    for path in [
        PathBuf::from(own),
        request.context_dir.join(".dockerignore"),
    ] {
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Ignore::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(BuildError::Read { path, source }),
        }
    }
    Ok(Ignore::default())
}
