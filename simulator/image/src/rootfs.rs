//! A directory that becomes an image's root file system, and from which nothing leads out.
//!
//! Layers come from strangers. A path with `..` is refused, links on the way are followed as if
//! the directory were `/`, and every symbolic link is rewritten to a relative one that stays
//! inside: what runs from this directory is not in a chroot, so an absolute link would lead to
//! the host's own files.
//!
//! We are not root: owners and devices are left out, set-user-id bits too, and directories stay
//! writable for us, so that later layers can change them and the whole can be removed.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, Entry, EntryType};

/// Links followed on the way to one file; more are a loop (Linux has the same limit).
const MAX_LINKS: usize = 40;
/// What begins the name of a file that stands for a removal.
pub(crate) const WHITEOUT: &str = ".wh.";
/// The file that stands for the removal of all that lower layers put into its directory.
pub(crate) const OPAQUE: &str = ".wh..wh..opq";

/// Why a layer could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// An entry would be written outside of the root.
    #[error("entry {path:?} leads out of the image's root")]
    Escape {
        /// The entry's path.
        path: PathBuf,
    },
    /// Links lead in circles.
    #[error("entry {path:?} is behind a loop of symbolic links")]
    LinkLoop {
        /// The entry's path.
        path: PathBuf,
    },
    /// A hard link to nothing, or to a directory.
    #[error("entry {path:?} is a hard link to {target:?}, which is not a file of the image")]
    HardLink {
        /// The entry's path.
        path: PathBuf,
        /// What it links to.
        target: PathBuf,
    },
    /// An entry could not be written.
    #[error("cannot write {path:?}; check free space and permissions")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The archive could not be read.
    #[error("cannot read the layer's archive")]
    Read(#[source] io::Error),
    /// The layer is compressed in a way that is not known here.
    #[error("the layer is compressed with {0}, which is not supported; build the image with gzip")]
    Compression(&'static str),
    /// The content is not what its digest says.
    #[error(
        "the layer has the digest {actual} instead of {expected}; it was damaged on its way or in the registry"
    )]
    DigestMismatch {
        /// What it should have been.
        expected: crate::Digest,
        /// What it was.
        actual: crate::Digest,
    },
}

/// A root file system in the making. One thread works on it at a time.
#[derive(Debug)]
pub(crate) struct RootDir {
    root: PathBuf,
}

impl RootDir {
    /// Takes an existing directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Applies one layer: adds and replaces its files, and removes what it has whiteouts for.
    /// <https://github.com/opencontainers/image-spec/blob/main/layer.md>
    pub(crate) fn apply(&self, layer: impl Read) -> Result<(), LayerError> {
        let mut archive = Archive::new(layer);
        // A whiteout is about lower layers, whatever the order in this one.
        let mut written = BTreeSet::new();
        for entry in archive.entries().map_err(LayerError::Read)? {
            let mut entry = entry.map_err(LayerError::Read)?;
            let path = entry.path().map_err(LayerError::Read)?.into_owned();
            self.apply_entry(&path, &mut entry, &mut written)?;
        }
        Ok(())
    }

    fn apply_entry(
        &self,
        path: &Path,
        entry: &mut Entry<'_, impl Read>,
        written: &mut BTreeSet<PathBuf>,
    ) -> Result<(), LayerError> {
        let parts = inside(path)?;
        let Some((name, parents)) = parts.split_last() else {
            // The root itself; its mode is ours to choose.
            return Ok(());
        };
        let text = name.to_string_lossy();
        if text == OPAQUE {
            let directory = self.directory(parents, path)?;
            return self.remove_lower(&directory, written);
        }
        if let Some(hidden) = text.strip_prefix(WHITEOUT) {
            if hidden.starts_with(WHITEOUT) || hidden.is_empty() {
                return Ok(());
            }
            // The removal of `..` would be that of the directory above.
            if matches!(hidden, "." | "..") {
                return Err(LayerError::Escape {
                    path: path.to_owned(),
                });
            }
            let place = self.directory(parents, path)?.join(hidden);
            if !written.contains(&place) {
                remove(&place)?;
            }
            return Ok(());
        }
        let place = self.directory(parents, path)?.join(name);
        note(&place, &self.root, written);
        self.write(&place, path, entry)
    }

    fn write(
        &self,
        place: &Path,
        path: &Path,
        entry: &mut Entry<'_, impl Read>,
    ) -> Result<(), LayerError> {
        let mode = entry.header().mode().map_err(LayerError::Read)?;
        match entry.header().entry_type() {
            EntryType::Directory => write_directory(place, mode),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                remove(place)?;
                write_file(place, mode, entry)
            }
            EntryType::Symlink => {
                remove(place)?;
                self.write_symlink(place, &link_target(entry)?)
            }
            EntryType::Link => self.write_hard_link(place, path, &link_target(entry)?),
            other => {
                // Devices and pipes: only root can make them, and only system programs need them.
                tracing::debug!(?path, kind = ?other, "left out of an image");
                Ok(())
            }
        }
    }

    fn write_symlink(&self, place: &Path, target: &Path) -> Result<(), LayerError> {
        let parent = place.parent().unwrap_or(&self.root);
        let parent = parent.strip_prefix(&self.root).unwrap_or(Path::new(""));
        symlink(confined(parent, target), place).map_err(write_error(place))
    }

    fn write_hard_link(&self, place: &Path, path: &Path, target: &Path) -> Result<(), LayerError> {
        let broken = || LayerError::HardLink {
            path: path.to_owned(),
            target: target.to_owned(),
        };
        let parts = inside(target)?;
        let (name, parents) = parts.split_last().ok_or_else(broken)?;
        let source = self.directory(parents, target)?.join(name);
        let metadata = fs::symlink_metadata(&source).map_err(|_| broken())?;
        if source == place {
            return Ok(());
        }
        if metadata.is_dir() {
            return Err(broken());
        }
        remove(place)?;
        if metadata.is_symlink() {
            // The same link at another depth could lead out, so it is made anew: from where the
            // first one is, its target is inside.
            let target = fs::read_link(&source).map_err(write_error(&source))?;
            let from = source.parent().unwrap_or(&self.root);
            let from = from.strip_prefix(&self.root).unwrap_or(Path::new(""));
            return self.write_symlink(place, &Path::new("/").join(from).join(target));
        }
        fs::hard_link(&source, place).map_err(write_error(place))
    }

    /// Removes what a directory has from lower layers.
    fn remove_lower(
        &self,
        directory: &Path,
        written: &BTreeSet<PathBuf>,
    ) -> Result<(), LayerError> {
        for entry in fs::read_dir(directory).map_err(write_error(directory))? {
            let entry = entry.map_err(write_error(directory))?;
            let path = entry.path();
            if !written.contains(&path) {
                remove(&path)?;
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.remove_lower(&path, written)?;
            }
        }
        Ok(())
    }

    /// The real directory behind `parts`, made where it is missing. Links are followed as if the
    /// root were `/`, so the result has no link in it and is inside.
    fn directory(&self, parts: &[OsString], path: &Path) -> Result<PathBuf, LayerError> {
        let mut open: VecDeque<OsString> = parts.iter().cloned().collect();
        let mut found: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(part) = open.pop_front() {
            if part == ".." {
                found.pop();
                continue;
            }
            let place = self
                .root
                .join(found.iter().collect::<PathBuf>())
                .join(&part);
            match fs::symlink_metadata(&place) {
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(LayerError::LinkLoop {
                            path: path.to_owned(),
                        });
                    }
                    let target = fs::read_link(&place).map_err(write_error(&place))?;
                    for part in parts_of(&target).into_iter().rev() {
                        open.push_front(part);
                    }
                }
                Ok(_) => found.push(part),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&place).map_err(write_error(&place))?;
                    found.push(part);
                }
                Err(source) => return Err(write_error(&place)(source)),
            }
        }
        Ok(self.root.join(found.iter().collect::<PathBuf>()))
    }
}

/// The parts of an archive's path; a leading slash means the root, as everywhere in archives.
fn inside(path: &Path) -> Result<Vec<OsString>, LayerError> {
    let parts = parts_of(path);
    if parts.iter().any(|part| part == "..") {
        Err(LayerError::Escape {
            path: path.to_owned(),
        })
    } else {
        Ok(parts)
    }
}

fn parts_of(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|component| match component {
        Component::Normal(part) => Some(part),
        Component::ParentDir => Some(OsStr::new("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    parts.map(OsStr::to_owned).collect()
}

/// The relative target of a link in the directory `parent` that leads to where `target` would
/// lead if the root were `/`: never above it, and `..` only at its beginning, where no link can
/// change what it means.
fn confined(parent: &Path, target: &Path) -> PathBuf {
    let parent = parts_of(parent);
    let mut place = if target.is_absolute() {
        Vec::new()
    } else {
        parent.clone()
    };
    for part in parts_of(target) {
        if part == ".." {
            place.pop();
        } else {
            place.push(part);
        }
    }
    let shared = parent
        .iter()
        .zip(&place)
        .take_while(|(one, other)| one == other);
    let shared = shared.count();
    let up = std::iter::repeat_n(OsString::from(".."), parent.len() - shared);
    let relative: PathBuf = up.chain(place[shared..].iter().cloned()).collect();
    if relative.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        relative
    }
}

fn note(place: &Path, root: &Path, written: &mut BTreeSet<PathBuf>) {
    let above = place.ancestors().take_while(|it| *it != root);
    written.extend(above.map(Path::to_owned));
}

fn link_target(entry: &Entry<'_, impl Read>) -> Result<PathBuf, LayerError> {
    let target = entry.link_name().map_err(LayerError::Read)?;
    target.map(|it| it.into_owned()).ok_or_else(|| {
        LayerError::Read(io::Error::new(
            io::ErrorKind::InvalidData,
            "a link without a target",
        ))
    })
}

fn write_directory(place: &Path, mode: u32) -> Result<(), LayerError> {
    let is_directory = fs::symlink_metadata(place).is_ok_and(|metadata| metadata.is_dir());
    if !is_directory {
        remove(place)?;
        fs::create_dir(place).map_err(write_error(place))?;
    }
    set_mode(place, mode | 0o700)
}

fn write_file(place: &Path, mode: u32, entry: &mut Entry<'_, impl Read>) -> Result<(), LayerError> {
    let modified = entry.header().mtime().unwrap_or_default();
    let mut file = File::create_new(place).map_err(write_error(place))?;
    io::copy(entry, &mut file).map_err(write_error(place))?;
    // Programs compare times of files with each other (Python its compiled modules).
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
    file.set_modified(modified).map_err(write_error(place))?;
    set_mode(place, mode | 0o400)
}

/// Sets a mode without the set-user-id and set-group-id bits.
fn set_mode(place: &Path, mode: u32) -> Result<(), LayerError> {
    let permissions = Permissions::from_mode(mode & 0o1777);
    fs::set_permissions(place, permissions).map_err(write_error(place))
}

/// Removes whatever is at a path, if anything.
fn remove(place: &Path) -> Result<(), LayerError> {
    let removed = match fs::symlink_metadata(place) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(place),
        Ok(_) => fs::remove_file(place),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(write_error(place))
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> LayerError {
    let path = path.to_owned();
    move |source| LayerError::Write { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(parent: &str, target: &str, expected: &str) {
        let found = confined(Path::new(parent), Path::new(target));
        assert_eq!(found, Path::new(expected), "{parent} -> {target}");
    }

    #[test]
    fn links_become_relative_and_stay_inside() {
        case("", "bin", "bin");
        case("usr", "bin/sh", "bin/sh");
        case("usr/bin", "../lib/x", "../lib/x");
        case("usr/bin", "/usr/lib/x", "../lib/x");
        case("", "/etc/passwd", "etc/passwd");
        case("a/b", "../../../../etc/passwd", "../../etc/passwd");
        case("a", "x/../../../etc", "../etc");
        case("a", "/", "..");
        case("", "..", ".");
        case("a", ".", ".");
    }
}
