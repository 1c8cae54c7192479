//! What the layers of an image in a registry hold, without unpacking them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use tar::{Archive, EntryType};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::client::{ClientError, RegistryClient};
use crate::rootfs::{LayerError, OPAQUE, WHITEOUT};
use crate::spec::Descriptor;
use crate::{layer, on_blocking_thread};

/// Most of a layer's content that is read, in bytes: a small archive can unpack to any size.
const CONTENT_MAX: u64 = 1 << 30;
/// Most of one file that is kept, in bytes.
const KEPT_MAX: u64 = 1 << 20;

/// What one layer does to the file system. Paths have no slash at the beginning or end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerContents {
    /// Files, links and directories that it adds or replaces; true for directories.
    pub added: BTreeMap<String, bool>,
    /// What it deletes of the layers below.
    pub deleted: BTreeSet<String>,
    /// Directories of which it hides all that is below.
    pub emptied: BTreeSet<String>,
    /// Content of the files that were asked for, up to 1 MiB of each.
    pub kept: BTreeMap<String, Vec<u8>>,
}

/// Why a layer could not be looked through.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The registry did not give it.
    #[error("cannot get layer {layer}")]
    Registry {
        /// Its digest.
        layer: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// It is no archive of a kind that can be read.
    #[error("cannot read layer {layer}")]
    Layer {
        /// Its digest.
        layer: String,
        /// The cause.
        #[source]
        source: LayerError,
    },
}

/// Looks through a layer of an image, and keeps the content of the files in `keep`.
///
/// # Errors
/// Where the registry does not give the layer, or it cannot be read.
pub async fn of_layer(
    registry: &RegistryClient,
    repository: &str,
    layer: &Descriptor,
    keep: &BTreeSet<String>,
) -> Result<LayerContents, ContentsError> {
    let name = || layer.digest.to_string();
    let blob = registry.blob(repository, layer).await;
    let blob = blob.map_err(|source| ContentsError::Registry {
        layer: name(),
        source,
    })?;
    let blob = SyncIoBridge::new(StreamReader::new(blob));
    let keep = keep.clone();
    let read = on_blocking_thread(move || of_blob(blob, &keep)).await;
    read.map_err(|source| ContentsError::Layer {
        layer: name(),
        source,
    })
}

fn of_blob(blob: impl Read, keep: &BTreeSet<String>) -> Result<LayerContents, LayerError> {
    let content = layer::decompressed(blob)?.take(CONTENT_MAX);
    let mut archive = Archive::new(content);
    let mut contents = LayerContents::default();
    for entry in archive.entries().map_err(LayerError::Read)? {
        let mut entry = entry.map_err(LayerError::Read)?;
        let path = entry.path().map_err(LayerError::Read)?;
        let path = plain(&path.to_string_lossy());
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let beside = |name: &str| plain(&format!("{parent}/{name}"));
        if name == OPAQUE {
            contents.emptied.insert(parent.to_owned());
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            contents.deleted.insert(beside(hidden));
        } else if !path.is_empty() {
            if keep.contains(&path) {
                let mut kept = Vec::new();
                let part = (&mut entry).take(KEPT_MAX);
                read_all(part, &mut kept).map_err(LayerError::Read)?;
                contents.kept.insert(path.clone(), kept);
            }
            let directory = entry.header().entry_type() == EntryType::Directory;
            contents.added.insert(path, directory);
        }
    }
    Ok(contents)
}

fn read_all(mut part: impl Read, into: &mut Vec<u8>) -> io::Result<()> {
    part.read_to_end(into).map(drop)
}

/// A path without `.`, empty parts and slashes at its ends.
fn plain(path: &str) -> String {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    parts.collect::<Vec<_>>().join("/")
}

/// Whether the file system that the layers make, lowest first, has `path`.
#[must_use]
pub fn has(layers: &[LayerContents], path: &str) -> bool {
    let path = plain(path);
    let above = |place: &str| {
        place.is_empty()
            || path
                .strip_prefix(place)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    for layer in layers.iter().rev() {
        // A directory need not have an entry of its own.
        let below = format!("{path}/");
        if layer.added.contains_key(&path)
            || layer.added.keys().any(|added| added.starts_with(&below))
        {
            return true;
        }
        let replaced = layer
            .added
            .iter()
            .any(|(added, directory)| !directory && above(added));
        let deleted = layer
            .deleted
            .iter()
            .any(|deleted| *deleted == path || above(deleted));
        if replaced || deleted || layer.emptied.iter().any(|place| above(place)) {
            return false;
        }
    }
    false
}

/// The content of a file of the uppermost layer that has it, where it was kept.
#[must_use]
pub fn content<'a>(layers: &'a [LayerContents], path: &str) -> Option<&'a [u8]> {
    let path = plain(path);
    if !has(layers, &path) {
        return None;
    }
    let mut kept = layers
        .iter()
        .rev()
        .filter_map(|layer| layer.kept.get(&path));
    kept.next().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            if path.ends_with('/') {
                header.set_entry_type(EntryType::Directory);
            }
            header.set_size(text.len() as u64);
            builder
                .append_data(&mut header, path, text.as_bytes())
                .unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn layers(all: &[&[(&str, &str)]]) -> Vec<LayerContents> {
        let keep = BTreeSet::from(["app/app.js".to_owned()]);
        all.iter()
            .map(|entries| of_blob(archive(entries).as_slice(), &keep).unwrap())
            .collect()
    }

    #[test]
    fn a_deleted_file_stays_in_its_layer_and_is_gone_from_the_file_system() {
        let layers = layers(&[
            &[("./app/", ""), ("app/.env", "SECRET=1")],
            &[("app/.wh..env", "")],
        ]);
        assert!(layers[0].added.contains_key("app/.env"));
        assert!(layers[1].deleted.contains("app/.env"));
        assert!(!has(&layers, "/app/.env") && has(&layers[..1], "/app/.env"));
        assert!(has(&layers, "app"));
    }

    #[test]
    fn what_is_above_decides() {
        let case = |all: &[&[(&str, &str)]], path, expected| {
            assert_eq!(has(&layers(all), path), expected, "{path} {all:?}");
        };
        case(&[&[("app/app.js", "1")]], "/app/app.js", true);
        case(&[&[("app/app.js", "1")]], "/app", true);
        case(&[&[("app/app.js", "1")]], "/ap", false);
        case(&[&[("app/a", "1")], &[(".wh.app", "")]], "app/a", false);
        case(
            &[&[("app/a", "1")], &[("app/.wh..wh..opq", "")]],
            "app/a",
            false,
        );
        case(
            &[
                &[("app/a", "1")],
                &[("app/.wh..wh..opq", ""), ("app/b", "")],
            ],
            "app/b",
            true,
        );
        // A file in place of a directory.
        case(&[&[("app/a", "1")], &[("app", "")]], "app/a", false);
        case(
            &[&[("app/a", "1")], &[(".wh.app", "")], &[("app/a", "")]],
            "app/a",
            true,
        );
    }

    #[test]
    fn the_content_is_that_of_the_uppermost_layer() {
        let both = layers(&[&[("app/app.js", "old")], &[("app/app.js", "new")]]);
        assert_eq!(content(&both, "/app/app.js"), Some(&b"new"[..]));
        assert_eq!(content(&both[..1], "/app/app.js"), Some(&b"old"[..]));
        assert_eq!(content(&both, "/app/other.js"), None);
        let gone = layers(&[&[("app/app.js", "old")], &[("app/.wh.app.js", "")]]);
        assert_eq!(content(&gone, "/app/app.js"), None);
    }

    #[test]
    fn compressed_layers_are_read_too() {
        use std::io::Write;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&archive(&[("a", "1")])).unwrap();
        let contents = of_blob(packed.finish().unwrap().as_slice(), &BTreeSet::new()).unwrap();
        assert_eq!(contents.added, BTreeMap::from([("a".to_owned(), false)]));
    }
}
