//! A build's directory: which files it has, and which of them a `COPY` means.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::glob;
use crate::ignore::Ignore;

/// One thing in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Directory(u32),
    /// With its mode.
    File(u32),
    Symlink(PathBuf),
    /// A socket, pipe or device.
    Other,
}

/// The directory's content by path relative to it, what is ignored left out.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    root: PathBuf,
    items: BTreeMap<String, Item>,
    ignore: Ignore,
    /// True where modes are kept as they are: those of an image are somebody's choice. Those of
    /// a directory differ between machines (umask, Windows); what matters is who may run a file.
    exact: bool,
}

/// Mode of a directory that nobody said anything about.
pub(crate) const DIRECTORY_MODE: u32 = 0o755;

/// Why a source means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSource {
    /// It is above the directory.
    Outside,
    /// It is there, and ignored.
    Ignored,
    /// It is not there.
    Missing,
}

impl Context {
    /// Reads a directory. The names in it have to be Unicode, as names in images are.
    pub(crate) fn read(root: &Path, ignore: Ignore) -> io::Result<Self> {
        Self::new(root, ignore, false)
    }

    /// Reads an unpacked image.
    pub(crate) fn of_image(root: &Path) -> io::Result<Self> {
        Self::new(root, Ignore::default(), true)
    }

    fn new(root: &Path, ignore: Ignore, exact: bool) -> io::Result<Self> {
        let mut context = Self {
            root: root.to_owned(),
            items: BTreeMap::new(),
            ignore,
            exact,
        };
        context.read_directory("")?;
        Ok(context)
    }

    fn read_directory(&mut self, relative: &str) -> io::Result<()> {
        let directory = self.root.join(relative);
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
        };
        for entry in fs::read_dir(&directory).map_err(named)? {
            let entry = entry.map_err(named)?;
            let name = entry.file_name().into_string().map_err(|name| {
                let problem = format!("the name {name:?} is not Unicode");
                named(io::Error::new(io::ErrorKind::InvalidData, problem))
            })?;
            let path = if relative.is_empty() {
                name
            } else {
                format!("{relative}/{name}")
            };
            let item = item(&entry, self.exact).map_err(named)?;
            let excluded = self.ignore.excludes(&path);
            let is_directory = matches!(item, Item::Directory(_));
            if !excluded {
                self.items.insert(path.clone(), item);
            }
            if is_directory && (!excluded || self.ignore.has_exceptions()) {
                self.read_directory(&path)?;
            }
        }
        Ok(())
    }

    /// Where an item lies on this machine.
    pub(crate) fn path(&self, item: &str) -> PathBuf {
        self.root.join(item)
    }

    /// The item with this path; the empty path is the directory itself.
    pub(crate) fn item(&self, path: &str) -> Option<Item> {
        let found = self.items.get(path).cloned();
        if found.is_none() && (path.is_empty() || self.below(path).next().is_some()) {
            return Some(Item::Directory(DIRECTORY_MODE));
        }
        found
    }

    /// Everything below a directory, by path relative to it.
    pub(crate) fn below<'a>(
        &'a self,
        directory: &str,
    ) -> impl Iterator<Item = (&'a str, &'a Item)> + use<'a> {
        let prefix = if directory.is_empty() {
            String::new()
        } else {
            format!("{directory}/")
        };
        let after = self.items.range(prefix.clone()..);
        after.map_while(move |(path, item)| Some((path.strip_prefix(&prefix)?, item)))
    }

    /// Which items a `COPY` source means: one, or all that match a pattern.
    pub(crate) fn select(&self, source: &str) -> Result<Vec<String>, NoSource> {
        let parts: Vec<&str> = source
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if parts.contains(&"..") {
            return Err(NoSource::Outside);
        }
        let source = parts.join("/");
        if self.item(&source).is_some() {
            return Ok(vec![source]);
        }
        if glob::is_pattern(&source) {
            let found = self
                .items
                .keys()
                .filter(|path| glob::matches(&source, path));
            let found: Vec<String> = found.cloned().collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        if self.path(&source).symlink_metadata().is_ok() {
            Err(NoSource::Ignored)
        } else {
            Err(NoSource::Missing)
        }
    }
}

fn item(entry: &fs::DirEntry, exact: bool) -> io::Result<Item> {
    let metadata = entry.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(if metadata.is_dir() {
        Item::Directory(if exact { mode } else { DIRECTORY_MODE })
    } else if metadata.is_file() {
        Item::File(match (exact, mode & 0o111) {
            (true, _) => mode,
            (false, 0) => 0o644,
            (false, _) => 0o755,
        })
    } else if metadata.is_symlink() {
        Item::Symlink(fs::read_link(entry.path())?)
    } else {
        Item::Other
    })
}
