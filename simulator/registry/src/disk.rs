//! What lies where in the registry's directory, and the only code that writes there.
//!
//! ```text
//! blobs/sha256/ab/ab12…                          content, once for all repositories
//! repositories/NAME/_blobs/sha256/ab12…          empty: NAME may serve this blob
//! repositories/NAME/_manifests/sha256/ab12…      media type of a manifest in NAME
//! repositories/NAME/_tags/1.0.0                  digest of the manifest
//! repositories/NAME/_uploads/x7Ab…               content of an unfinished upload
//! tmp/                                           files about to be renamed
//! ```
//!
//! Repository names cannot have a part that begins with an underscore, so our directories never
//! collide with them. Every file appears by rename, content before the links to it and links
//! before tags; removal goes the other way. So a kill between two steps leaves garbage at worst.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use crate::digest::{Algorithm, Digest};
use crate::error::Refusal;
use crate::manifest::Facts;
use crate::names::{Reference, RepositoryName, Tag};

/// What a repository can hold a link to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    Blob,
    Manifest,
}

impl Link {
    fn directory(self) -> &'static str {
        match self {
            Self::Blob => "_blobs",
            Self::Manifest => "_manifests",
        }
    }
}

/// A manifest as it was pushed.
#[derive(Debug)]
pub(crate) struct StoredManifest {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) content: Vec<u8>,
}

/// The registry's directory. All its methods block.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Read by whoever publishes content, written by the garbage collector: so that nothing is
    /// removed between the check that it is there and the link that keeps it.
    gate: RwLock<()>,
}

impl Disk {
    /// Makes the directories and sees whether they can be written to.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        for name in ["blobs", "repositories", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        let disk = Self {
            root: root.to_owned(),
            gate: RwLock::new(()),
        };
        disk.now()?;
        Ok(disk)
    }

    /// The time by the clock that stamps files: what ages are measured against. It need not be
    /// this machine's clock (a directory shared with a virtual machine).
    pub(crate) fn now(&self) -> io::Result<SystemTime> {
        let mut probe = NamedTempFile::new_in(self.temporary())?;
        probe.write_all(b"?")?;
        probe.as_file().metadata()?.modified()
    }

    /// Held while content is published.
    pub(crate) fn publishing(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while garbage is removed.
    pub(crate) fn collecting(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    // Paths.

    pub(crate) fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(crate) fn content_root(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// Where the content with this digest lies, if it does.
    pub(crate) fn content(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.content_root()
            .join(digest.algorithm().name())
            .join(&hex[..2])
            .join(hex)
    }

    fn repository(&self, name: &RepositoryName) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    pub(crate) fn uploads(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_uploads")
    }

    fn tags_directory(&self, name: &RepositoryName) -> PathBuf {
        self.repository(name).join("_tags")
    }

    fn links(&self, name: &RepositoryName, link: Link, algorithm: Algorithm) -> PathBuf {
        self.repository(name)
            .join(link.directory())
            .join(algorithm.name())
    }

    pub(crate) fn link(&self, name: &RepositoryName, link: Link, digest: &Digest) -> PathBuf {
        self.links(name, link, digest.algorithm())
            .join(digest.hex())
    }

    // Blobs.

    /// Length in bytes of a blob that the repository may serve.
    pub(crate) fn blob_size(&self, name: &RepositoryName, digest: &Digest) -> Result<u64, Refusal> {
        let unknown = || Refusal::BlobUnknown {
            digest: digest.clone(),
        };
        let link = self.link(name, Link::Blob, digest);
        if !exists(&link)? {
            return Err(unknown());
        }
        match fs::metadata(self.content(digest)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unknown()),
            Err(error) => Err(Refusal::disk(&self.content(digest), error)),
        }
    }

    /// Makes a blob young again: whoever asks for it is about to rely on it, so the garbage
    /// collector has to leave it alone for another grace period.
    pub(crate) fn rejuvenate(&self, name: &RepositoryName, digest: &Digest) {
        let touched = self.now().and_then(|now| {
            File::options()
                .append(true)
                .open(self.link(name, Link::Blob, digest))?
                .set_modified(now)
        });
        if let Err(error) = touched {
            tracing::debug!(%error, %digest, "could not mark a blob as wanted");
        }
    }

    /// True where some repository's push brought this content.
    pub(crate) fn has_content(&self, digest: &Digest) -> Result<bool, Refusal> {
        exists(&self.content(digest))
    }

    /// Moves a complete and verified file to its digest's place and lets the repository serve it.
    pub(crate) fn publish_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        file: &Path,
    ) -> Result<(), Refusal> {
        let _publishing = self.publishing();
        let place = self.content(digest);
        create_parent(&place)?;
        // Where the content was there already, this replaces it by the same bytes.
        fs::rename(file, &place).map_err(|error| Refusal::disk(&place, error))?;
        sync_parent(&place);
        self.put_file(&self.link(name, Link::Blob, digest), b"")
    }

    /// Lets the repository serve content that is there; false where it is not.
    pub(crate) fn mount_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Refusal> {
        let _publishing = self.publishing();
        if !self.has_content(digest)? {
            return Ok(false);
        }
        self.put_file(&self.link(name, Link::Blob, digest), b"")?;
        Ok(true)
    }

    /// Stops the repository from serving a blob; the content goes with the next garbage.
    pub(crate) fn remove_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        self.blob_size(name, digest)?;
        remove(&self.link(name, Link::Blob, digest)).map(drop)
    }

    // Manifests and tags.

    /// Stores a manifest, byte for byte, and moves the tag to it.
    pub(crate) fn put_manifest(
        &self,
        name: &RepositoryName,
        manifest: &StoredManifest,
        facts: &Facts,
        tag: Option<&Tag>,
    ) -> Result<(), Refusal> {
        let _publishing = self.publishing();
        for blob in &facts.blobs {
            self.blob_size(name, blob)
                .map_err(|refusal| missing_in_manifest(refusal, blob))?;
        }
        let digest = &manifest.digest;
        self.put_file(&self.content(digest), &manifest.content)?;
        let link = self.link(name, Link::Manifest, digest);
        self.put_file(&link, manifest.media_type.as_bytes())?;
        match tag {
            Some(tag) => {
                let path = self.tags_directory(name).join(tag.as_str());
                self.put_file(&path, digest.to_string().as_bytes())
            }
            None => Ok(()),
        }
    }

    /// The digest that a reference stands for now.
    pub(crate) fn resolve(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<Digest, Refusal> {
        match reference {
            Reference::Digest(digest) => Ok(digest.clone()),
            Reference::Tag(tag) => self.tagged(name, tag)?.ok_or_else(|| unknown(reference)),
        }
    }

    /// The digest that a tag stands for now.
    pub(crate) fn tagged(
        &self,
        name: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Digest>, Refusal> {
        let path = self.tags_directory(name).join(tag.as_str());
        read_text(&path)?
            .map(|digest| Digest::parse(digest.trim()).map_err(|_| damaged(&path)))
            .transpose()
    }

    /// A manifest of the repository.
    pub(crate) fn manifest(
        &self,
        name: &RepositoryName,
        reference: &Reference,
    ) -> Result<StoredManifest, Refusal> {
        let digest = self.resolve(name, reference)?;
        let link = self.link(name, Link::Manifest, &digest);
        let media_type = read_text(&link)?.ok_or_else(|| unknown(reference))?;
        let path = self.content(&digest);
        let content = read(&path)?.ok_or_else(|| unknown(reference))?;
        Ok(StoredManifest {
            digest,
            media_type,
            content,
        })
    }

    /// Removes a manifest from the repository with all its tags.
    pub(crate) fn remove_manifest(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        let reference = Reference::Digest(digest.clone());
        let link = self.link(name, Link::Manifest, digest);
        if !exists(&link)? {
            return Err(unknown(&reference));
        }
        for tag in self.tags(name)? {
            if self.tagged(name, &tag)?.as_ref() == Some(digest) {
                self.remove_tag(name, &tag)?;
            }
        }
        remove(&link).map(drop)
    }

    /// Removes a tag and leaves its manifest.
    pub(crate) fn remove_tag(&self, name: &RepositoryName, tag: &Tag) -> Result<(), Refusal> {
        let path = self.tags_directory(name).join(tag.as_str());
        if remove(&path)? {
            Ok(())
        } else {
            Err(unknown(&Reference::Tag(tag.clone())))
        }
    }

    // Lists.

    /// Every tag of the repository, unsorted.
    pub(crate) fn tags(&self, name: &RepositoryName) -> Result<Vec<Tag>, Refusal> {
        let names = file_names(&self.tags_directory(name))?;
        // A file that cannot be a tag is not ours.
        Ok(names.iter().filter_map(|it| Tag::parse(it).ok()).collect())
    }

    /// Every blob or manifest of the repository, unsorted.
    pub(crate) fn linked(&self, name: &RepositoryName, link: Link) -> Result<Vec<Digest>, Refusal> {
        let mut digests = Vec::new();
        for algorithm in Algorithm::ALL {
            let names = file_names(&self.links(name, link, algorithm))?;
            let texts = names
                .iter()
                .map(|hex| format!("{}:{hex}", algorithm.name()));
            digests.extend(texts.filter_map(|text| Digest::parse(&text).ok()));
        }
        Ok(digests)
    }

    /// Every directory that a push has made, unsorted; some may have no manifest (any more).
    pub(crate) fn repositories(&self) -> Result<Vec<RepositoryName>, Refusal> {
        let mut found = Vec::new();
        let mut parents = vec![String::new()];
        while let Some(parent) = parents.pop() {
            let directory = self.root.join("repositories").join(&parent);
            for part in file_names(&directory)? {
                let path = if parent.is_empty() {
                    part
                } else {
                    format!("{parent}/{part}")
                };
                if let Ok(name) = RepositoryName::parse(&path) {
                    found.push(name);
                    parents.push(path);
                }
            }
        }
        Ok(found)
    }

    /// Makes a file appear with its whole content, replacing what was there.
    fn put_file(&self, path: &Path, content: &[u8]) -> Result<(), Refusal> {
        create_parent(path)?;
        let written = (|| {
            let mut file = NamedTempFile::new_in(self.temporary())?;
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|failure| failure.error)
        })();
        written.map_err(|error| Refusal::disk(path, error))?;
        sync_parent(path);
        Ok(())
    }
}

fn unknown(reference: &Reference) -> Refusal {
    Refusal::ManifestUnknown {
        reference: reference.to_string(),
    }
}

fn missing_in_manifest(refusal: Refusal, blob: &Digest) -> Refusal {
    if matches!(refusal, Refusal::BlobUnknown { .. }) {
        Refusal::ManifestBlobUnknown {
            digest: blob.clone(),
        }
    } else {
        refusal
    }
}

fn damaged(path: &Path) -> Refusal {
    Refusal::disk(path, io::Error::from(io::ErrorKind::InvalidData))
}

fn exists(path: &Path) -> Result<bool, Refusal> {
    path.try_exists()
        .map_err(|error| Refusal::disk(path, error))
}

/// Removes a file; false where there was none.
pub(crate) fn remove(path: &Path) -> Result<bool, Refusal> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Refusal::disk(path, error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Refusal> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Refusal::disk(path, error)),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, Refusal> {
    read(path)?
        .map(|content| String::from_utf8(content).map_err(|_| damaged(path)))
        .transpose()
}

/// Names of a directory's entries; none where there is no such directory.
pub(crate) fn file_names(directory: &Path) -> Result<Vec<String>, Refusal> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Refusal::disk(directory, error)),
    };
    entries
        .map(|entry| {
            let entry = entry.map_err(|error| Refusal::disk(directory, error))?;
            Ok(entry.file_name().to_string_lossy().into_owned())
        })
        .collect()
}

fn create_parent(path: &Path) -> Result<(), Refusal> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(|error| Refusal::disk(parent, error)),
        None => Ok(()),
    }
}

/// Makes a rename survive a power cut. Not every file system can; what is lost then is the last
/// push, never consistency, so a failure is only worth a line in the log.
fn sync_parent(path: &Path) {
    let Some(parent) = path.parent() else { return };
    if let Err(error) = File::open(parent).and_then(|directory| directory.sync_all()) {
        tracing::debug!(%error, directory = %parent.display(), "could not sync a directory");
    }
}
