//! The instructions after `FROM`, one after the other.

use std::io;
use std::path::PathBuf;

use super::stages::{Made, Source, Sources};
use super::{BuildError, BuildRequest, Note, Variables, locate, owner};
use crate::context::Context;
use crate::dockerfile::{Instruction, Invocation, Problem, Step};
use crate::ignore::Ignore;
use crate::layer;
use crate::layout::Layout;
use crate::spec::{self, Descriptor, Empty, History, ImageConfig};
use crate::tarball::{self, Entries, Entry, Owner};
use crate::tree::{self, Tree};

/// Where programs are looked for in an image that does not say it, as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage after its `FROM`.
pub(super) struct Builder<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) out: &'a Layout,
    pub(super) context: Context,
    pub(super) sources: &'a Sources,
    variables: Variables,
    pub(super) config: ImageConfig,
    layers: Vec<Descriptor>,
    pub(super) tree: Tree,
    created: String,
    has_cmd: bool,
    notes: Vec<Note>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        request: &'a BuildRequest,
        out: &'a Layout,
        base: Option<Made>,
        sources: &'a Sources,
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
            sources,
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
        if !builder.variables.env.contains_key("PATH") {
            builder.set_env("PATH", PATH);
        }
        builder.config.created = Some(builder.created.clone());
        Ok(builder)
    }

    fn start_from(&mut self, base: Made) -> Result<(), BuildError> {
        for descriptor in &base.layers {
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
        self.layers = base.layers;
        Ok(())
    }

    /// Carries the steps out; what came of them, what their author should know, and what is known
    /// of variables for the next stage.
    pub(super) fn run(
        mut self,
        steps: &[Step],
    ) -> Result<(Made, Vec<Note>, Variables), BuildError> {
        for step in steps {
            let made = self.apply(step)?;
            self.config.history.push(History {
                created: Some(self.created.clone()),
                created_by: Some(step.text.clone()),
                empty_layer: !made,
            });
        }
        let made = Made {
            config: self.config,
            layers: self.layers,
        };
        Ok((made, self.notes, self.variables))
    }

    /// Carries an instruction out; true where it made a layer.
    fn apply(&mut self, step: &Step) -> Result<bool, BuildError> {
        let located = locate(&self.request.dockerfile, step.line);
        match &step.instruction {
            Instruction::Copy {
                sources,
                destination,
                from,
                owner,
                mode,
                unpack,
                verbatim,
            } => {
                let words = sources.iter().chain([destination]);
                let words: Result<Vec<String>, Problem> = words
                    .map(|word| self.expand_unless(word, *verbatim))
                    .collect();
                let words = words.map_err(&located)?;
                let owner = self.owner(owner.as_deref()).map_err(&located)?;
                // They have to stay until the layer is written.
                let mut archives = Vec::new();
                if *unpack {
                    archives = self.archives(&words)?;
                }
                let from = from.as_deref().and_then(|from| self.sources.get(from));
                let entries = self.copied(&words, from, &archives, *mode);
                self.add_layer(&entries.map_err(located)?, owner)?;
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
            Instruction::Healthcheck(check) => {
                let text = "HEALTHCHECK is recorded for Docker; in a cluster, probes are in the pod's specification";
                self.note(Some(line), text.to_owned());
                self.config.config.healthcheck = Some(check.clone());
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
        self.add_layer(&entries, Owner::default())?;
        Ok(true)
    }

    /// Who the files of a `COPY` belong to.
    fn owner(&self, text: Option<&str>) -> Result<Owner, Problem> {
        let Some(text) = text else {
            return Ok(Owner::default());
        };
        let text = self.variables.expand(text)?;
        owner::owner(&text, &self.layers, self.out)
    }

    /// The archives among the sources of an `ADD`, unpacked.
    fn archives(&self, words: &[String]) -> Result<Vec<(String, Source)>, BuildError> {
        let mut found = Vec::new();
        for word in words.iter().take(words.len().saturating_sub(1)) {
            for item in self.context.select(word).unwrap_or_default() {
                let path = self.context.path(&item);
                if layer::is_archive(&path) {
                    found.push((item, Source::of_archive(&path, self.out)?));
                }
            }
        }
        Ok(found)
    }

    fn add_layer(&mut self, entries: &Entries, owner: Owner) -> Result<(), BuildError> {
        let written = self.out.write_blob(spec::LAYER_TAR, |writer| {
            tarball::write_owned(entries, owner, writer)
        });
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
