//! The local image store: a directory in the form of an OCI image layout, which other tools
//! (`skopeo copy oci:DIR:NAME …`) can read too.
//!
//! Blobs appear by rename, and the table of contents changes under a file lock and by rename, so
//! that several processes can use a store and a kill at any instant leaves it whole.
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::digest::Hashing;
use crate::spec::{self, Descriptor, ImageConfig, Index, Manifest};
use crate::{Digest, ImageRef, InvalidReference};

/// The annotation that names an image in a layout.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A local image store. Its methods block, for short file operations.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

/// An image in the store.
#[derive(Clone, Debug)]
pub struct LocalImage {
    /// Its name.
    pub name: ImageRef,
    /// Points at its manifest.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: ImageConfig,
}

impl LocalImage {
    /// Bytes of its configuration and layers as stored.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let layers: u64 = self.manifest.layers.iter().map(|layer| layer.size).sum();
        self.manifest.config.size + layers
    }
}

/// Why the local store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file or directory of the store failed.
    #[error("cannot use {} in the local image store; check free space and permissions", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A document of the store makes no sense.
    #[error("{} in the local image store is damaged; delete the store's directory and build again", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// An archive is not what it should be.
    #[error("{} is not an archive of an OCI image layout: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An image in an archive has no valid name.
    #[error("an image in the archive has no valid name")]
    Name(#[from] InvalidReference),
    /// There is no such image.
    #[error("image {name} is not in the local image store; build it with devops-lab image build")]
    NotFound {
        /// The image.
        name: String,
    },
}

impl LayoutError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Layout {
    /// Opens the store in `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// Where the directory cannot be made or written to.
    pub fn open(dir: &Path) -> Result<Self, LayoutError> {
        let layout = Self {
            dir: dir.to_owned(),
        };
        for path in [layout.blobs(), layout.temporary()] {
            fs::create_dir_all(&path).map_err(LayoutError::io(&path))?;
        }
        let marker = dir.join("oci-layout");
        if !marker.exists() {
            layout.put_file(&marker, b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
        }
        Ok(layout)
    }

    /// The store's directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Every image, sorted by name. Entries of other tools without a full name are left out.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn list(&self) -> Result<Vec<LocalImage>, LayoutError> {
        let mut images = Vec::new();
        for descriptor in self.index()?.manifests {
            if let Some(name) = name_of(&descriptor) {
                images.push(self.load(name, descriptor)?);
            }
        }
        images.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(images)
    }

    /// The image with this name.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub fn get(&self, name: &ImageRef) -> Result<Option<LocalImage>, LayoutError> {
        let index = self.index()?;
        let mut entries = index.manifests.into_iter();
        entries
            .find(|descriptor| name_of(descriptor).as_ref() == Some(name))
            .map(|descriptor| self.load(name.clone(), descriptor))
            .transpose()
    }

    /// Like [`Self::get`], for callers that cannot do without.
    ///
    /// # Errors
    /// [`LayoutError::NotFound`], or where the store cannot be read.
    pub fn require(&self, name: &ImageRef) -> Result<LocalImage, LayoutError> {
        let found = self.get(name)?;
        found.ok_or_else(|| LayoutError::NotFound {
            name: name.to_string(),
        })
    }

    /// Gives an image another name beside its own.
    ///
    /// # Errors
    /// [`LayoutError::NotFound`], or where the store cannot be used.
    pub fn tag(&self, name: &ImageRef, new: &ImageRef) -> Result<(), LayoutError> {
        let image = self.require(name)?;
        self.set(new, image.descriptor)
    }

    /// Lets a name stand for a manifest whose blobs are all in the store.
    ///
    /// # Errors
    /// Where the store cannot be written to.
    pub fn set(&self, name: &ImageRef, descriptor: Descriptor) -> Result<(), LayoutError> {
        let mut descriptor = descriptor;
        let annotations = &mut descriptor.annotations;
        annotations.insert(REF_NAME.to_owned(), name.to_string());
        self.change_index(|index| {
            index
                .manifests
                .retain(|it| name_of(it).as_ref() != Some(name));
            index.manifests.push(descriptor);
        })
    }

    /// Takes a name away; false where nothing had it. Blobs stay: other images may share them.
    ///
    /// # Errors
    /// Where the store cannot be written to.
    pub fn remove(&self, name: &ImageRef) -> Result<bool, LayoutError> {
        let mut found = false;
        self.change_index(|index| {
            let before = index.manifests.len();
            index
                .manifests
                .retain(|it| name_of(it).as_ref() != Some(name));
            found = index.manifests.len() < before;
        })?;
        Ok(found)
    }

    /// Path of a blob, whether or not it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// True where the blob is there.
    #[must_use]
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// A blob's content.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, LayoutError> {
        let path = self.blob_path(digest);
        fs::read(&path).map_err(LayoutError::io(&path))
    }

    /// Stores content and describes it.
    ///
    /// # Errors
    /// Where the store cannot be written to.
    pub fn put_blob(&self, media_type: &str, content: &[u8]) -> Result<Descriptor, LayoutError> {
        self.write_blob(media_type, |writer| writer.write_all(content))
    }

    /// Stores what `write` writes, and describes it.
    ///
    /// # Errors
    /// Where `write` fails or the store cannot be written to; then nothing is left.
    pub fn write_blob(
        &self,
        media_type: &str,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Descriptor, LayoutError> {
        let temporary = self.temporary();
        let written = (|| {
            let file = NamedTempFile::new_in(&temporary)?;
            // Hashing in large pieces costs a third of hashing in the small ones of a tar writer.
            let mut buffered = BufWriter::with_capacity(256 * 1024, Hashing::new(file.as_file()));
            write(&mut buffered)?;
            let hashing = buffered
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            let (digest, size) = hashing.finish();
            file.as_file().sync_all()?;
            let persisted = file.persist(self.blob_path(&digest));
            persisted.map_err(|failure| failure.error)?;
            Ok(Descriptor::new(media_type, digest, size))
        })();
        written.map_err(LayoutError::io(&temporary))
    }

    /// Writes images and all they need to a tar archive that `docker load`, `skopeo` and
    /// [`Self::import`] read.
    ///
    /// # Errors
    /// [`LayoutError::NotFound`], or where the store or the archive fails; then there is no
    /// archive.
    pub fn export(&self, names: &[ImageRef], archive: &Path) -> Result<(), LayoutError> {
        let images: Vec<LocalImage> = names
            .iter()
            .map(|name| self.require(name))
            .collect::<Result<_, _>>()?;
        let parent = archive.parent().filter(|it| !it.as_os_str().is_empty());
        let written = (|| {
            let file = NamedTempFile::new_in(parent.unwrap_or(Path::new(".")))?;
            self.write_archive(&images, file.as_file())?;
            file.persist(archive).map_err(|failure| failure.error)
        })();
        written.map(drop).map_err(LayoutError::io(archive))
    }

    fn write_archive(&self, images: &[LocalImage], file: &File) -> io::Result<()> {
        let manifests = images
            .iter()
            .map(|image| image.descriptor.clone())
            .collect();
        let index = Index {
            schema_version: 2,
            media_type: Some(spec::INDEX.to_owned()),
            manifests,
        };
        // What docker load reads; it has its own table of contents.
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let table: Vec<_> = images
            .iter()
            .map(|image| {
                let layers = image.manifest.layers.iter();
                json!({
                    "Config": path(&image.manifest.config.digest),
                    "RepoTags": [image.name.to_string()],
                    "Layers": layers.map(|layer| path(&layer.digest)).collect::<Vec<_>>(),
                })
            })
            .collect();
        let mut archive = crate::tarball::Writer::new(BufWriter::new(file));
        archive.content("oci-layout", b"{\"imageLayoutVersion\":\"1.0.0\"}")?;
        archive.content("index.json", &serde_json::to_vec(&index)?)?;
        archive.content("manifest.json", &serde_json::to_vec(&table)?)?;
        let mut digests: Vec<&Digest> = images
            .iter()
            .flat_map(|image| {
                let layers = image.manifest.layers.iter().map(|layer| &layer.digest);
                layers.chain([&image.descriptor.digest, &image.manifest.config.digest])
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        for digest in digests {
            archive.file(&path(digest), &self.blob_path(digest), 0o644)?;
        }
        archive.finish()?.flush()
    }

    /// Takes the images of an archive in and returns their names. Blobs are verified.
    ///
    /// # Errors
    /// Where the archive is not an OCI image layout, is damaged, or the store fails.
    pub fn import(&self, archive: &Path) -> Result<Vec<ImageRef>, LayoutError> {
        let file = File::open(archive).map_err(LayoutError::io(archive))?;
        let mut tar = tar::Archive::new(io::BufReader::new(file));
        let mut index: Option<Index> = None;
        let entries = tar.entries().map_err(LayoutError::io(archive))?;
        for entry in entries {
            let mut entry = entry.map_err(LayoutError::io(archive))?;
            let path = entry.path().map_err(LayoutError::io(archive))?.into_owned();
            if path == Path::new("index.json") {
                let mut content = Vec::new();
                entry
                    .read_to_end(&mut content)
                    .map_err(LayoutError::io(archive))?;
                index = Some(parse(archive, &content)?);
            } else if let Ok(hex) = path.strip_prefix("blobs/sha256") {
                self.import_blob(archive, &hex.to_string_lossy(), &mut entry)?;
            }
        }
        let index = index.ok_or_else(|| LayoutError::Archive {
            path: archive.to_owned(),
            reason: "it has no index.json".to_owned(),
        })?;
        let mut names = Vec::new();
        for descriptor in index.manifests {
            let name = ImageRef::parse(descriptor.annotations.get(REF_NAME).map_or("", |it| it))?;
            self.load(name.clone(), descriptor.clone())?;
            self.set(&name, descriptor)?;
            names.push(name);
        }
        Ok(names)
    }

    fn import_blob(
        &self,
        archive: &Path,
        hex: &str,
        content: &mut impl Read,
    ) -> Result<(), LayoutError> {
        if hex.is_empty() {
            return Ok(());
        }
        let stored = self.write_blob("", |writer| io::copy(content, writer).map(drop))?;
        if stored.digest.hex() == hex {
            Ok(())
        } else {
            // What was stored is right under its own digest and harms nobody.
            Err(LayoutError::Archive {
                path: archive.to_owned(),
                reason: format!("its blob {hex} has the digest {}", stored.digest),
            })
        }
    }

    fn load(&self, name: ImageRef, descriptor: Descriptor) -> Result<LocalImage, LayoutError> {
        let manifest: Manifest = self.document(&descriptor.digest)?;
        let config = self.document(&manifest.config.digest)?;
        Ok(LocalImage {
            name,
            descriptor,
            manifest,
            config,
        })
    }

    fn document<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, LayoutError> {
        parse(&self.blob_path(digest), &self.read_blob(digest)?)
    }

    fn index(&self) -> Result<Index, LayoutError> {
        let path = self.dir.join("index.json");
        match fs::read(&path) {
            Ok(content) => parse(&path, &content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index {
                schema_version: 2,
                media_type: Some(spec::INDEX.to_owned()),
                manifests: Vec::new(),
            }),
            Err(error) => Err(LayoutError::io(&path)(error)),
        }
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<(), LayoutError> {
        let lock = self.dir.join("lock");
        let file = File::create(&lock).map_err(LayoutError::io(&lock))?;
        // Released when the file is closed, be it by a kill.
        file.lock().map_err(LayoutError::io(&lock))?;
        let mut index = self.index()?;
        change(&mut index);
        let path = self.dir.join("index.json");
        let content = serde_json::to_vec_pretty(&index);
        let content = content.map_err(|source| LayoutError::Damaged {
            path: path.clone(),
            source,
        })?;
        self.put_file(&path, &content)
    }

    /// Makes a file appear with its whole content, replacing what was there.
    pub(crate) fn put_file(&self, path: &Path, content: &[u8]) -> Result<(), LayoutError> {
        let written = (|| {
            let mut file = NamedTempFile::new_in(self.temporary())?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|failure| failure.error)
        })();
        written.map(drop).map_err(LayoutError::io(path))
    }

    fn blobs(&self) -> PathBuf {
        self.dir.join("blobs/sha256")
    }

    pub(crate) fn temporary(&self) -> PathBuf {
        self.dir.join("tmp")
    }
}

fn name_of(descriptor: &Descriptor) -> Option<ImageRef> {
    ImageRef::parse(descriptor.annotations.get(REF_NAME)?).ok()
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path, content: &[u8]) -> Result<T, LayoutError> {
    serde_json::from_slice(content).map_err(|source| LayoutError::Damaged {
        path: path.to_owned(),
        source,
    })
}
