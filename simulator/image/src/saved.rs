//! Archives that `docker save` writes, of old and new daemons.
//!
//! Both have a `manifest.json` that names a configuration and layers by their paths; only newer
//! ones are OCI image layouts too. Layers that are not compressed are compressed on the way in:
//! the daemon hands them out as they lie on its disk.
//! <https://github.com/moby/docker-image-spec/blob/main/v1.2.md#combined-image-json--filesystem-changeset-format>

use std::collections::BTreeMap;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Component, Path};

use flate2::{Compression, GzBuilder};
use serde::Deserialize;

use crate::ImageRef;
use crate::layout::{Layout, LayoutError};
use crate::spec::{self, Descriptor, Manifest};

/// Media type of a layer that is compressed with gzip.
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Largest `manifest.json`, in bytes.
const TABLE_MAX: u64 = 8 << 20;
/// Where a tar archive says that it is one.
const MAGIC: std::ops::Range<usize> = 257..262;

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Layout {
    /// Takes the images of an archive in that `docker save` wrote, and answers with their names.
    ///
    /// # Errors
    /// Where it is no such archive or cut short, or the store fails. What was stored before has no
    /// name.
    pub fn import_saved(&self, archive: impl Read) -> Result<Vec<ImageRef>, LayoutError> {
        let place = Path::new("the archive of docker save");
        let failed = LayoutError::io(place);
        let bad = |reason: String| LayoutError::Archive {
            path: place.to_owned(),
            reason,
        };
        let read = self.read_saved(archive);
        let (table, blobs) = read.map_err(failed)?;
        let table = table.ok_or_else(|| bad("it has no manifest.json".to_owned()))?;
        let table: Vec<Saved> = serde_json::from_slice(&table)
            .map_err(|error| bad(format!("its manifest.json makes no sense ({error})")))?;
        let blob = |path: &str, media_type: Option<&str>| {
            let found = blobs.get(path);
            let mut found = found
                .cloned()
                .ok_or_else(|| bad(format!("it lacks {path}")))?;
            if let Some(media_type) = media_type {
                media_type.clone_into(&mut found.media_type);
            }
            Ok::<_, LayoutError>(found)
        };
        let mut names = Vec::new();
        for Saved {
            config,
            repo_tags,
            layers,
        } in table
        {
            let layers = layers.iter().map(|path| blob(path, None));
            let manifest = Manifest {
                schema_version: 2,
                media_type: Some(spec::MANIFEST.to_owned()),
                config: blob(&config, Some(spec::CONFIG))?,
                layers: layers.collect::<Result<_, _>>()?,
                annotations: BTreeMap::new(),
            };
            let manifest = serde_json::to_vec(&manifest).map_err(|error| bad(error.to_string()))?;
            let descriptor = self.put_blob(spec::MANIFEST, &manifest)?;
            for tag in repo_tags.unwrap_or_default() {
                let name = ImageRef::parse(&tag)?;
                self.set(&name, descriptor.clone())?;
                names.push(name);
            }
        }
        Ok(names)
    }

    /// The table of contents, and every other file as a blob under its path.
    #[allow(clippy::type_complexity)]
    fn read_saved(
        &self,
        archive: impl Read,
    ) -> io::Result<(Option<Vec<u8>>, BTreeMap<String, Descriptor>)> {
        let mut table = None;
        let mut blobs = BTreeMap::new();
        let mut links = Vec::new();
        let mut archive = tar::Archive::new(BufReader::with_capacity(128 * 1024, archive));
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let kind = entry.header().entry_type();
            if path == "manifest.json" {
                let mut content = Vec::new();
                (&mut entry).take(TABLE_MAX).read_to_end(&mut content)?;
                table = Some(content);
            } else if kind.is_file() {
                blobs.insert(path, self.put_saved(&mut entry)?);
            } else if (kind.is_symlink() || kind.is_hard_link())
                && let Some(target) = entry.link_name()?
            {
                // A layer that several images share is there once, and linked to.
                let from = Path::new(&path).parent().filter(|_| kind.is_symlink());
                links.push((
                    path.clone(),
                    normal(&from.unwrap_or(Path::new("")).join(target)),
                ));
            }
        }
        for (path, target) in links {
            if let Some(blob) = blobs.get(&target).cloned() {
                blobs.insert(path, blob);
            }
        }
        Ok((table, blobs))
    }

    fn put_saved(&self, content: &mut dyn Read) -> io::Result<Descriptor> {
        let mut head = Vec::new();
        content.take(512).read_to_end(&mut head)?;
        let plain = head.get(MAGIC).is_some_and(|magic| magic == b"ustar");
        let packed = head.starts_with(&[0x1f, 0x8b]);
        let mut whole = Cursor::new(head).chain(content);
        let media_type = if plain || packed {
            LAYER_GZIP
        } else {
            spec::LAYER_TAR
        };
        let stored = self.write_blob(media_type, |writer| {
            if !plain {
                return io::copy(&mut whole, writer).map(drop);
            }
            // Without a time, so that the same layer is the same blob.
            let mut packing = GzBuilder::new().write(writer, Compression::default());
            io::copy(&mut whole, &mut packing)?;
            packing.finish().map(drop)
        });
        stored.map_err(io::Error::other)
    }
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar archive of files and of links.
    fn archive(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, *content).unwrap();
        }
        for (path, target) in links {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, path, target).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[test]
    fn an_image_of_an_old_daemon_comes_in_with_compressed_layers_and_links_followed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let layer = archive(&[("hello.txt", &[b'x'; 20_000])], &[]);
        let config =
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let table = br#"[{"Config":"c0ffee.json","RepoTags":["hello:1","localhost:5001/hello:1"],"Layers":["aa/layer.tar","bb/layer.tar"]}]"#;
        let saved = archive(
            &[
                ("aa/layer.tar", &layer),
                ("c0ffee.json", config),
                ("manifest.json", table),
            ],
            &[("bb/layer.tar", "../aa/layer.tar")],
        );
        let names = layout.import_saved(saved.as_slice()).unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["docker.io/library/hello:1", "localhost:5001/hello:1"]
        );
        let image = layout
            .require(&ImageRef::parse("hello:1").unwrap())
            .unwrap();
        let [first, second] = image.manifest.layers.as_slice() else {
            panic!("{:?}", image.manifest.layers);
        };
        assert_eq!(first, second);
        assert_eq!(first.media_type, LAYER_GZIP);
        let blob = layout.read_blob(&first.digest).unwrap();
        assert!(blob.len() < 2000, "{}", blob.len());
        let mut unpacked = Vec::new();
        let mut unpacking = crate::layer::decompressed(blob.as_slice()).unwrap();
        unpacking.read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, layer);
    }

    #[test]
    fn an_archive_that_lacks_a_layer_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let table = br#"[{"Config":"c.json","RepoTags":["hello:1"],"Layers":["aa/layer.tar"]}]"#;
        let saved = archive(&[("c.json", b"{}"), ("manifest.json", table)], &[]);
        let error = layout
            .import_saved(saved.as_slice())
            .unwrap_err()
            .to_string();
        assert!(error.contains("it lacks aa/layer.tar"), "{error}");
        assert!(layout.import_saved(&b"nonsense"[..]).is_err());
    }
}
