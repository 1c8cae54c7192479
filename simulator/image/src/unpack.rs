//! Images unpacked into directories, for engines that run their programs without a container
//! runtime.
//!
//! ```text
//! images/sha256-ab12…/rootfs        what is in the image
//! images/sha256-ab12…/image.json    how to run it
//! references/…                      which name stood for which image at its last pull
//! tmp/sha256-ab12…                  an image being unpacked
//! locks/sha256-ab12…                held by the process that unpacks it
//! ```
//!
//! An image appears by rename, whole; what a killed process leaves in `tmp` is removed by the
//! next one. The key is the digest of the configuration, which names the content of all layers.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::client::{ClientError, RegistryClient};
use crate::layout::{Layout, LayoutError};
use crate::rootfs::RootDir;
use crate::spec::{ImageConfig, Manifest};
use crate::{Digest, ImageRef, layer, on_blocking_thread};

pub use crate::rootfs::LayerError;

/// A directory of unpacked images. Clones and other processes may share it.
#[derive(Clone, Debug)]
pub struct ImageStore {
    dir: PathBuf,
}

/// An image that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpackedImage {
    /// Digest of the configuration, which Kubernetes and Docker call the image's id.
    pub config_digest: Digest,
    /// The root directory.
    pub rootfs: PathBuf,
    /// How to run it.
    pub config: RunSettings,
    /// Bytes of its unpacked files.
    pub size_bytes: u64,
    /// `registry/repository@digest` of the manifest, where it came from a registry.
    pub repo_digest: Option<String>,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunSettings {
    /// Program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Directory to start in, seen from the image's root.
    pub working_dir: String,
    /// User and optional group, names or ids; empty for root.
    pub user: String,
    /// Labels, sorted.
    pub labels: Vec<(String, String)>,
    /// Ports that the program listens on (`8080/tcp`).
    pub exposed_ports: Vec<String>,
    /// Signal that asks the program to end.
    pub stop_signal: String,
}

/// Why an image could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The registry does not have it or cannot be used.
    #[error("cannot pull image {image}")]
    Pull {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: ClientError,
    },
    /// The local store does not have it or cannot be used.
    #[error("cannot take image {image} from the local store")]
    Local {
        /// The image.
        image: String,
        /// The cause.
        #[source]
        source: LayoutError,
    },
    /// A layer is damaged, hostile or cannot be written.
    #[error("cannot unpack layer {layer} of image {image}")]
    Layer {
        /// The image.
        image: String,
        /// Digest of the layer.
        layer: Digest,
        /// The cause.
        #[source]
        source: LayerError,
    },
    /// The image's configuration makes no sense.
    #[error("the configuration of image {image} is not valid: {reason}")]
    Config {
        /// The image.
        image: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The directory of images failed.
    #[error("cannot use {} in the directory of unpacked images; check free space and permissions", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// What is written beside an unpacked image.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    config: RunSettings,
    size_bytes: u64,
}

/// What a name stood for.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    reference: String,
    config_digest: Digest,
    repo_digest: Option<String>,
}

/// Where layers come from.
enum Source<'a> {
    Registry(&'a RegistryClient),
    Layout(&'a Layout),
}

impl ImageStore {
    /// Opens the store in `dir`, which is made where it is missing, and removes what killed
    /// processes left half-done. Blocks.
    ///
    /// # Errors
    /// Where the directory cannot be made or written to.
    pub fn open(dir: &Path) -> Result<Self, UnpackError> {
        let store = Self {
            dir: dir.to_owned(),
        };
        for name in ["images", "references", "tmp", "locks"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(io_error(&path))?;
        }
        store.remove_remains()?;
        Ok(store)
    }

    /// Pulls and unpacks an image; what is unpacked already only costs the question what the
    /// name stands for now, and nothing at all where the name has a digest that is known.
    ///
    /// # Errors
    /// Where the image is not in the registry, is damaged or hostile, or cannot be written. Then
    /// nothing of it is left.
    pub async fn pull(
        &self,
        client: &RegistryClient,
        image: &ImageRef,
    ) -> Result<UnpackedImage, UnpackError> {
        if image.digest().is_some()
            && let Some(found) = self.find(image)?
        {
            return Ok(found);
        }
        let failed = |source| UnpackError::Pull {
            image: image.to_string(),
            source,
        };
        let repository = image.repository();
        let pulled = client
            .image_manifest(repository, image.tag_or_digest())
            .await;
        let (fetched, manifest) = pulled.map_err(failed)?;
        let repo_digest = format!("{}/{repository}@{}", image.registry(), fetched.digest);
        if self.load(&manifest.config.digest, None)?.is_none() {
            let config = client.blob_bytes(repository, &manifest.config).await;
            let config = config.map_err(failed)?;
            self.unpack(image, &manifest, &config, &Source::Registry(client))
                .await?;
        }
        self.remember(image, &manifest.config.digest, Some(repo_digest))
    }

    /// Unpacks an image of the local store.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn unpack_local(
        &self,
        layout: &Layout,
        image: &ImageRef,
    ) -> Result<UnpackedImage, UnpackError> {
        let failed = |source| UnpackError::Local {
            image: image.to_string(),
            source,
        };
        let local = layout.require(image).map_err(failed)?;
        let digest = &local.manifest.config.digest;
        if self.load(digest, None)?.is_none() {
            let config = layout.read_blob(digest).map_err(failed)?;
            self.unpack(image, &local.manifest, &config, &Source::Layout(layout))
                .await?;
        }
        self.remember(image, digest, None)
    }

    /// The image that a name stood for at its last pull, where it is still there. Blocks, for
    /// the reading of two small files.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn find(&self, image: &ImageRef) -> Result<Option<UnpackedImage>, UnpackError> {
        let path = self.reference_path(image);
        let Some(content) = read(&path)? else {
            return Ok(None);
        };
        match serde_json::from_slice::<Known>(&content) {
            Ok(known) => self.load(&known.config_digest, known.repo_digest),
            // A pull will write it anew.
            Err(_) => Ok(None),
        }
    }

    async fn unpack(
        &self,
        image: &ImageRef,
        manifest: &Manifest,
        config: &[u8],
        source: &Source<'_>,
    ) -> Result<(), UnpackError> {
        let digest = manifest.config.digest.clone();
        let invalid = |reason: String| UnpackError::Config {
            image: image.to_string(),
            reason,
        };
        let config: ImageConfig =
            serde_json::from_slice(config).map_err(|error| invalid(error.to_string()))?;
        let diff_ids = config.rootfs.diff_ids.clone();
        if diff_ids.len() != manifest.layers.len() {
            return Err(invalid(format!(
                "it has {} layers and the manifest {}",
                diff_ids.len(),
                manifest.layers.len()
            )));
        }
        let store = self.clone();
        let workplace = on_blocking_thread(move || store.begin(&digest)).await?;
        let Some(mut workplace) = workplace else {
            // Another process was faster.
            return Ok(());
        };
        for (descriptor, diff_id) in manifest.layers.iter().zip(diff_ids) {
            let content = source.open(image, &descriptor.digest).await?;
            let content = SyncIoBridge::new(content);
            let digest = descriptor.digest.clone();
            // The workplace goes along: where the caller gives up, the thread ends its layer and
            // then removes it, and no one else touches it before.
            let (back, applied) = on_blocking_thread(move || {
                let applied = layer::apply(content, &digest, &diff_id, &workplace.root());
                (workplace, applied)
            })
            .await;
            workplace = back;
            applied.map_err(|source| UnpackError::Layer {
                image: image.to_string(),
                layer: descriptor.digest.clone(),
                source,
            })?;
        }
        on_blocking_thread(move || workplace.finish(settings(&config))).await
    }

    /// Takes an image's lock, and makes an empty place to unpack it; `None` where it has been
    /// unpacked in the meantime.
    fn begin(&self, digest: &Digest) -> Result<Option<Workplace>, UnpackError> {
        let lock_path = self.dir.join("locks").join(directory_name(digest));
        let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
        lock.lock().map_err(io_error(&lock_path))?;
        let place = self.image_dir(digest);
        if place.exists() {
            return Ok(None);
        }
        let path = self.dir.join("tmp").join(directory_name(digest));
        remove_tree(&path)?;
        let rootfs = path.join("rootfs");
        fs::create_dir_all(&rootfs).map_err(io_error(&rootfs))?;
        Ok(Some(Workplace {
            path,
            place,
            _lock: lock,
        }))
    }

    fn load(
        &self,
        config_digest: &Digest,
        repo_digest: Option<String>,
    ) -> Result<Option<UnpackedImage>, UnpackError> {
        let dir = self.image_dir(config_digest);
        let path = dir.join("image.json");
        let Some(content) = read(&path)? else {
            return Ok(None);
        };
        let record: Record = serde_json::from_slice(&content)
            .map_err(|error| io_error(&path)(io::Error::from(error)))?;
        let Record { config, size_bytes } = record;
        Ok(Some(UnpackedImage {
            config_digest: config_digest.clone(),
            rootfs: dir.join("rootfs"),
            config,
            size_bytes,
            repo_digest,
        }))
    }

    fn remember(
        &self,
        image: &ImageRef,
        config_digest: &Digest,
        repo_digest: Option<String>,
    ) -> Result<UnpackedImage, UnpackError> {
        let known = Known {
            reference: image.to_string(),
            config_digest: config_digest.clone(),
            repo_digest: repo_digest.clone(),
        };
        let path = self.reference_path(image);
        let written = (|| {
            let file = tempfile::NamedTempFile::new_in(self.dir.join("references"))?;
            serde_json::to_writer(file.as_file(), &known)?;
            file.persist(&path).map_err(|failure| failure.error)
        })();
        written.map_err(io_error(&path))?;
        self.load(config_digest, repo_digest)?.ok_or_else(|| {
            io_error(&self.image_dir(config_digest))(io::Error::from(io::ErrorKind::NotFound))
        })
    }

    /// Removes places that nobody works in any more.
    fn remove_remains(&self) -> Result<(), UnpackError> {
        let temporary = self.dir.join("tmp");
        for entry in fs::read_dir(&temporary).map_err(io_error(&temporary))? {
            let entry = entry.map_err(io_error(&temporary))?;
            let lock_path = self.dir.join("locks").join(entry.file_name());
            let lock = File::create(&lock_path).map_err(io_error(&lock_path))?;
            if lock.try_lock().is_ok() {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    fn image_dir(&self, digest: &Digest) -> PathBuf {
        self.dir.join("images").join(directory_name(digest))
    }

    fn reference_path(&self, image: &ImageRef) -> PathBuf {
        // Names have slashes and colons and no bound on their length; a hash has not.
        let hash = Digest::of(image.to_string().as_bytes());
        self.dir.join("references").join(hash.hex())
    }
}

impl Source<'_> {
    async fn open(
        &self,
        image: &ImageRef,
        digest: &Digest,
    ) -> Result<Box<dyn AsyncRead + Send + Unpin>, UnpackError> {
        match self {
            Self::Registry(client) => {
                let blob = client.blob_unverified(image.repository(), digest).await;
                let blob = blob.map_err(|source| UnpackError::Pull {
                    image: image.to_string(),
                    source,
                })?;
                Ok(Box::new(StreamReader::new(blob.into_stream())))
            }
            Self::Layout(layout) => {
                let path = layout.blob_path(digest);
                let file = tokio::fs::File::open(&path).await;
                Ok(Box::new(file.map_err(io_error(&path))?))
            }
        }
    }
}

/// A place where an image is unpacked, under the image's lock; removed unless finished.
struct Workplace {
    path: PathBuf,
    place: PathBuf,
    _lock: File,
}

impl Workplace {
    fn root(&self) -> RootDir {
        RootDir::new(self.path.join("rootfs"))
    }

    /// Makes the image appear.
    fn finish(self, config: RunSettings) -> Result<(), UnpackError> {
        let rootfs = self.path.join("rootfs");
        let record = Record {
            config,
            size_bytes: tree_size(&rootfs).map_err(io_error(&rootfs))?,
        };
        let path = self.path.join("image.json");
        let content = serde_json::to_vec_pretty(&record).map_err(io::Error::from);
        let written = content.and_then(|content| fs::write(&path, content));
        written.map_err(io_error(&path))?;
        fs::rename(&self.path, &self.place).map_err(io_error(&self.place))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::warn!(%error, "could not remove a half-unpacked image");
        }
    }
}

fn settings(config: &ImageConfig) -> RunSettings {
    let run = config.config.clone();
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (name.to_owned(), value.to_owned())
    };
    let or = |text: String, default: &str| {
        if text.is_empty() {
            default.to_owned()
        } else {
            text
        }
    };
    RunSettings {
        entrypoint: run.entrypoint,
        cmd: run.cmd,
        env: run.env.iter().map(pair).collect(),
        working_dir: or(run.working_dir, "/"),
        user: run.user,
        labels: run.labels.into_iter().collect(),
        exposed_ports: run.exposed_ports.into_keys().collect(),
        stop_signal: or(run.stop_signal, "SIGTERM"),
    }
}

/// The digest as a name of a directory; a colon would break search paths such as `PATH`.
fn directory_name(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

fn tree_size(directory: &Path) -> io::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        size += if metadata.is_dir() {
            tree_size(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(size)
}

fn remove_tree(path: &Path) -> Result<(), UnpackError> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, UnpackError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path)(error)),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Io { path, source }
}
