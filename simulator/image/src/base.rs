//! The built-in base image: this program itself, and the little that a program expects around it.

use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::layout::{Layout, LayoutError, LocalImage};
use crate::spec::{self, Empty, History, ImageConfig, RunConfig};
use crate::store::store_image;
use crate::tarball::{self, Entries, Entry};
use crate::{Digest, ImageRef, on_blocking_thread};

/// Name of the base image, for `FROM`. Its number goes up when applications on it would break.
pub const RUNTIME_IMAGE: &str = "devops-lab/runtime:1";

/// Who runs applications on the base image: not root, and no user of the host.
const APP_USER: u32 = 10001;

/// Why the base image could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The program's file could not be read.
    #[error("cannot read {}", path.display())]
    Executable {
        /// The program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The local store failed.
    #[error("cannot store the base image {RUNTIME_IMAGE}")]
    Store(#[source] LayoutError),
}

/// From which file the image in the store was made.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    executable: PathBuf,
    size_bytes: u64,
    modified_nanos: u128,
    program_version: String,
    manifest: Option<Digest>,
}

/// [`RUNTIME_IMAGE`] as a name.
#[must_use]
pub fn runtime_image() -> ImageRef {
    ImageRef::parse(RUNTIME_IMAGE).expect("the constant is a valid name")
}

/// The base image in the local store, made anew where `executable` is another file than at the
/// last call (by path, length and time of change).
///
/// # Errors
/// Where the program cannot be read or the store cannot be used.
pub async fn base_image(executable: &Path, out: &Layout) -> Result<LocalImage, BaseError> {
    let (executable, out) = (executable.to_owned(), out.clone());
    on_blocking_thread(move || make_unless_there(&executable, &out)).await
}

fn make_unless_there(executable: &Path, out: &Layout) -> Result<LocalImage, BaseError> {
    let unreadable = |source| BaseError::Executable {
        path: executable.to_owned(),
        source,
    };
    let metadata = executable.metadata().map_err(unreadable)?;
    let origin = origin(executable, &metadata).map_err(unreadable)?;
    if let Some(image) = cached(&origin, out)? {
        return Ok(image);
    }
    let layer = out.write_blob(spec::LAYER_TAR, |writer| {
        tarball::write(&entries(executable), writer)
    });
    let layer = layer.map_err(BaseError::Store)?;
    let name = runtime_image();
    let stored = store_image(out, &name, &config(&layer.digest), vec![layer]);
    let (descriptor, _) = stored.map_err(BaseError::Store)?;
    let origin = Origin {
        manifest: Some(descriptor.digest),
        ..origin
    };
    let content = serde_json::to_vec(&origin).expect("the document has text keys");
    out.put_file(&origin_path(out), &content)
        .map_err(BaseError::Store)?;
    out.require(&name).map_err(BaseError::Store)
}

fn cached(origin: &Origin, out: &Layout) -> Result<Option<LocalImage>, BaseError> {
    // A record that is missing or damaged only costs making the image again.
    let content = std::fs::read(origin_path(out)).unwrap_or_default();
    let Ok(known) = serde_json::from_slice::<Origin>(&content) else {
        return Ok(None);
    };
    let image = out.get(&runtime_image()).map_err(BaseError::Store)?;
    Ok(image.filter(|image| {
        let same = Some(&image.descriptor.digest) == known.manifest.as_ref();
        let layers = image.manifest.layers.iter();
        let whole = layers.clone().all(|layer| out.has_blob(&layer.digest));
        let known = Origin {
            manifest: None,
            ..known
        };
        same && whole && known == *origin
    }))
}

fn origin(executable: &Path, metadata: &Metadata) -> io::Result<Origin> {
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
    Ok(Origin {
        executable: executable.to_owned(),
        size_bytes: metadata.len(),
        modified_nanos: modified.unwrap_or_default().as_nanos(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        manifest: None,
    })
}

fn origin_path(out: &Layout) -> PathBuf {
    out.dir().join("runtime-origin.json")
}

fn entries(executable: &Path) -> Entries {
    let passwd = format!(
        "root:x:0:0:root:/:/devops-lab\napp:x:{APP_USER}:{APP_USER}:app:/app:/devops-lab\n"
    );
    let group = format!("root:x:0:\napp:x:{APP_USER}:\n");
    let entries = [
        ("app", Entry::Directory(0o755)),
        ("devops-lab", Entry::File(executable.to_owned(), 0o755)),
        ("etc", Entry::Directory(0o755)),
        ("etc/group", Entry::Content(group.into_bytes())),
        ("etc/passwd", Entry::Content(passwd.into_bytes())),
        ("tmp", Entry::Directory(0o1777)),
    ];
    entries.map(|(path, entry)| (path.to_owned(), entry)).into()
}

fn config(layer: &Digest) -> ImageConfig {
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let labels = [
        ("org.opencontainers.image.title", "devops-lab runtime"),
        (
            "org.opencontainers.image.description",
            "Runs the small applications of the labs",
        ),
        (
            "org.opencontainers.image.version",
            env!("CARGO_PKG_VERSION"),
        ),
    ];
    let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let created = Some("1970-01-01T00:00:00Z".to_owned());
    let mut config = ImageConfig::scratch();
    config.created.clone_from(&created);
    config.config = RunConfig {
        user: APP_USER.to_string(),
        exposed_ports: [("8080/tcp".to_owned(), Empty {})].into(),
        env: strings(&["PORT=8080"]),
        entrypoint: strings(&["/devops-lab", "app"]),
        cmd: strings(&["/app/app.js"]),
        working_dir: "/app".to_owned(),
        labels: labels.map(text).into(),
        stop_signal: String::new(),
        healthcheck: None,
    };
    config.rootfs.diff_ids.push(layer.clone());
    config.history.push(History {
        created,
        created_by: Some("devops-lab".to_owned()),
        empty_layer: false,
    });
    config
}
