//! What can be wrong with a bundle, or in the way of one.

use std::io;
use std::path::{Path, PathBuf};

use lab_image::layout::LayoutError;

use crate::contents::FORMAT_VERSION;

/// Why a bundle cannot be made, read or loaded.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file system refused.
    #[error("cannot {verb} {}", path.display())]
    Io {
        /// `read`, `write` …
        verb: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no bundle of devops-lab: {reason}", path.display())]
    NotABundle {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A newer program made it.
    #[error(
        "{} has version {found} of the bundle format, and this devops-lab reads up to {FORMAT_VERSION}; use the program in it: tar -xf {} program/devops-lab",
        path.display(), path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It ends too early.
    #[error(
        "{} is cut short: it ends after {at} bytes, in {entry}, and should have {size}; copy or download it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The entry that is incomplete.
        entry: String,
        /// Where it ends, in bytes.
        at: u64,
        /// Its whole length in bytes, or at least that.
        size: u64,
    },
    /// An entry is not what it should be.
    #[error(
        "{} is damaged in {entry}, between bytes {from} and {to}: {reason}; copy or download it again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// Where the entry begins in the file, in bytes.
        from: u64,
        /// Where it ends.
        to: u64,
        /// What is wrong.
        reason: String,
    },
    /// Something follows its end.
    #[error(
        "{} goes on after its end at byte {at}; copy or download it again",
        path.display()
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Where it should end.
        at: u64,
    },
    /// An entry's name leads where it must not.
    #[error("the entry {name:?} of {} is refused: {reason}", path.display())]
    Name {
        /// The bundle, or the directory that was to be packed.
        path: PathBuf,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file changed while it was packed.
    #[error("{} changed while it was packed; try again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// There is nothing of the kind in a directory.
    #[error("{} holds no {kind}: {hint}", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
        /// `labs` or `decks`.
        kind: &'static str,
        /// What is looked for.
        hint: &'static str,
    },
    /// Two sources want the same place.
    #[error("{name} would be in the bundle twice, with different content; leave one out")]
    Twice {
        /// The entry.
        name: String,
    },
    /// The disk is too small.
    #[error(
        "not enough disk space in {}: {needed} bytes are needed and {free} are free; make room or choose another place",
        dir.display()
    )]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The local image store failed.
    #[error(transparent)]
    Store(#[from] LayoutError),
    /// Somebody ended it.
    #[error("interrupted; nothing was left behind")]
    Interrupted,
}

impl BundleError {
    /// For `map_err`.
    pub(crate) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}
