//! `bundle.json`: what is in a bundle, and where each of it must lie.

use std::collections::BTreeSet;
use std::path::Path;

use lab_image::spec::Descriptor;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tar::{EntryType, Header};

use crate::BundleError;

/// Version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
/// How a bundle says what it is.
pub(crate) const FORMAT: &str = "devops-lab-bundle";
/// Name of the first entry.
pub(crate) const CONTENTS: &str = "bundle.json";
/// Name of the second one.
pub(crate) const CHECKSUM: &str = "bundle.json.sha256";
/// Where the program lies in a bundle.
pub const PROGRAM: &str = "program/devops-lab";
/// Longest `bundle.json` that is read, in bytes: more than a hundred thousand entries.
pub(crate) const CONTENTS_MAX: u64 = 32 << 20;
/// Tar counts in blocks of so many bytes.
pub(crate) const BLOCK: u64 = 512;
/// Two empty blocks end an archive.
pub(crate) const END: u64 = 2 * BLOCK;

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    format: String,
    /// Version of the format.
    pub version: u32,
    /// The program in it.
    pub program: Program,
    /// The images in it.
    pub images: Vec<PackedImage>,
    /// Every further entry, in the order of the archive.
    pub entries: Vec<Entry>,
}

/// The program in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// What it runs on, such as `x86_64-unknown-linux-gnu`.
    pub target: String,
}

/// An image in a bundle; its blobs are entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedImage {
    /// Its full name.
    pub name: String,
    /// Points at its manifest.
    pub manifest: Descriptor,
    /// Bytes of its configuration and layers.
    pub size: u64,
}

/// A file in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the archive.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, as 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// True for what can be run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

impl Contents {
    pub(crate) fn new(program: Program, images: Vec<PackedImage>, entries: Vec<Entry>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: FORMAT_VERSION,
            program,
            images,
            entries,
        }
    }

    /// Reads `bundle.json` of the bundle at `path`, whose checksum is right.
    pub(crate) fn parse(path: &Path, json: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Kind {
            format: String,
            version: u64,
        }
        let not = |reason: String| BundleError::NotABundle {
            path: path.to_owned(),
            reason,
        };
        let Kind { format, version } = serde_json::from_slice(json)
            .map_err(|error| not(format!("its {CONTENTS} makes no sense ({error})")))?;
        if format != FORMAT {
            return Err(not(format!("its {CONTENTS} says that it is {format:?}")));
        }
        if version > u64::from(FORMAT_VERSION) {
            return Err(BundleError::Newer {
                path: path.to_owned(),
                found: version,
            });
        }
        let contents: Self = serde_json::from_slice(json)
            .map_err(|error| not(format!("its {CONTENTS} makes no sense ({error})")))?;
        let mut seen = BTreeSet::new();
        for entry in &contents.entries {
            let refused = |reason| BundleError::Name {
                path: path.to_owned(),
                name: entry.path.clone(),
                reason,
            };
            check_name(&entry.path).map_err(refused)?;
            if !seen.insert(entry.path.as_str()) {
                return Err(refused("it is there twice"));
            }
            if let Some(hex) = entry.blob()
                && hex != entry.sha256
            {
                return Err(refused("a blob is named after its checksum"));
            }
            if entry.header().is_none() {
                return Err(refused("it is too long"));
            }
        }
        Ok(contents)
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).unwrap_or_default();
        json.push(b'\n');
        json
    }

    /// The program's entry, if it is there.
    #[must_use]
    pub fn program_entry(&self) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.path == PROGRAM)
    }

    /// Names of the folders below `labs` or `decks`.
    #[must_use]
    pub fn folders(&self, kind: &str) -> BTreeSet<&str> {
        let paths = self.entries.iter().map(|entry| entry.path.as_str());
        paths
            .filter_map(|path| {
                path.strip_prefix(kind)?
                    .strip_prefix('/')?
                    .split('/')
                    .next()
            })
            .collect()
    }

    /// Bytes of all entries.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
    }
}

impl Entry {
    /// The hexadecimal digits of a blob's name; none for other entries.
    #[must_use]
    pub fn blob(&self) -> Option<&str> {
        self.path.strip_prefix("images/blobs/sha256/")
    }

    /// The one header that this entry has in the archive; none where its name is too long.
    pub(crate) fn header(&self) -> Option<Header> {
        header(&self.path, self.size, self.executable)
    }

    /// Bytes that it takes in the archive.
    pub(crate) fn archived(&self) -> u64 {
        archived(self.size)
    }
}

/// Bytes that a file of this length takes in an archive.
pub(crate) fn archived(size: u64) -> u64 {
    BLOCK.saturating_add(size.saturating_add(padding(size)))
}

/// Zeros after a file of this length.
pub(crate) fn padding(size: u64) -> u64 {
    (BLOCK - size % BLOCK) % BLOCK
}

pub(crate) fn header(path: &str, size: u64, executable: bool) -> Option<Header> {
    let mut header = Header::new_ustar();
    header.set_path(path).ok()?;
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(EntryType::Regular);
    header.set_cksum();
    Some(header)
}

/// The second entry's content for this first one.
pub(crate) fn checksum_line(json: &[u8]) -> String {
    format!("{:x}  {CONTENTS}\n", Sha256::digest(json))
}

/// Whether a file of a bundle may have this name.
pub(crate) fn check_name(name: &str) -> Result<(), &'static str> {
    if name.starts_with('/') {
        return Err("it begins at the root of the file system");
    }
    if name.contains(|letter: char| letter.is_control() || letter == '\\') {
        return Err("it has a character that names of files here do not have");
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.contains(&"..") {
        return Err("it leads out of its place");
    }
    if parts.iter().any(|part| part.is_empty() || *part == ".") {
        return Err("it has an empty part");
    }
    let hex = |text: &str| {
        text.len() == 64
            && text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    match parts.as_slice() {
        ["program", "devops-lab"] | ["images", "oci-layout" | "index.json"] => Ok(()),
        ["images", "blobs", "sha256", digits] if hex(digits) => Ok(()),
        ["labs" | "decks", folder, _, ..] if !folder.starts_with('.') => Ok(()),
        _ => Err("a bundle has no such place"),
    }
}
