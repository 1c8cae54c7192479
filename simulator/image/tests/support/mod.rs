//! A registry on a free port, a local store and a directory of unpacked images, in one temporary
//! directory; and layers to put into them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use lab_image::build::BaseImages;
use lab_image::client::RegistryClient;
use lab_image::layout::Layout;
use lab_image::spec::{self, Descriptor, ImageConfig, Manifest};
use lab_image::unpack::ImageStore;
use lab_image::{Digest, ImageRef};
use lab_registry::Registry;
use tar::{Builder, EntryType, Header};

pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) host: String,
    pub(crate) client: RegistryClient,
    pub(crate) layout: Layout,
    pub(crate) store: ImageStore,
    /// Stands for this program in the built-in base image.
    pub(crate) program: PathBuf,
}

impl Site {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Registry::open(&dir.path().join("registry")).unwrap();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let host = format!("localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move { axum::serve(listener, registry.router()).await });
        let program = dir.path().join("program");
        fs::write(&program, "a program").unwrap();
        Self {
            client: RegistryClient::new(&host),
            layout: Layout::open(&dir.path().join("layout")).unwrap(),
            store: ImageStore::open(&dir.path().join("store")).unwrap(),
            host,
            program,
            dir,
        }
    }

    pub(crate) fn bases(&self) -> BaseImages {
        BaseImages {
            runtime_executable: Some(self.program.clone()),
            registry: Some(self.client.clone()),
        }
    }

    pub(crate) fn registry_dir(&self) -> PathBuf {
        self.dir.path().join("registry")
    }

    /// Writes files into a directory and returns it.
    pub(crate) fn write(&self, directory: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = self.dir.path().join(directory);
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    pub(crate) async fn push_layer(&self, name: &str, layer: &[u8]) -> ImageRef {
        self.push_layers(name, &[layer]).await
    }

    pub(crate) async fn push_layers(&self, name: &str, layers: &[&[u8]]) -> ImageRef {
        let layers: Vec<_> = layers
            .iter()
            .map(|layer| (*layer, Digest::of(layer)))
            .collect();
        self.push_image(name, &layers).await
    }

    pub(crate) async fn push_packed(&self, name: &str, blob: &[u8], diff_id: &Digest) -> ImageRef {
        self.push_image(name, &[(blob, diff_id.clone())]).await
    }

    async fn push_image(&self, name: &str, layers: &[(&[u8], Digest)]) -> ImageRef {
        let name = ImageRef::parse(&format!("{}/{name}", self.host)).unwrap();
        let mut config = ImageConfig::scratch();
        config.created = Some(name.to_string());
        config.rootfs.diff_ids = layers.iter().map(|(_, diff_id)| diff_id.clone()).collect();
        let config = serde_json::to_vec(&config).unwrap();
        let mut descriptors = Vec::new();
        for (blob, _) in layers {
            descriptors.push(self.push_blob(&name, spec::LAYER_TAR, blob).await);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(spec::MANIFEST.to_owned()),
            config: self.push_blob(&name, spec::CONFIG, &config).await,
            layers: descriptors,
            annotations: Default::default(),
        };
        let content = serde_json::to_vec(&manifest).unwrap();
        let (repository, tag) = (name.repository(), name.tag().unwrap());
        let pushed = self
            .client
            .push_manifest(repository, tag, spec::MANIFEST, content.into());
        pushed.await.unwrap();
        name
    }

    async fn push_blob(&self, name: &ImageRef, kind: &str, content: &[u8]) -> Descriptor {
        let descriptor = Descriptor::new(kind, Digest::of(content), content.len() as u64);
        let pieces = [Ok(bytes::Bytes::copy_from_slice(content))];
        let stream = Box::pin(futures::stream::iter(pieces));
        self.client
            .push_blob(name.repository(), &descriptor, stream)
            .await
            .unwrap();
        descriptor
    }

    /// Fails unless the directory of unpacked images is as it was in the beginning.
    #[track_caller]
    pub(crate) fn nothing_unpacked(&self) {
        for name in ["images", "tmp", "references"] {
            let directory = self.dir.path().join("store").join(name);
            assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "{name}");
        }
    }
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

/// A layer with these files.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = header(EntryType::Regular, 0o644, content.len());
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    }
    builder.into_inner().unwrap()
}

/// An entry whose names are written as they are, which a decent writer would refuse.
fn raw(builder: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, target: &str, content: &str) {
    let mut header = header(kind, 0o644, content.len());
    let fields = header.as_old_mut();
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    builder.append(&header, content.as_bytes()).unwrap();
}

/// A layer with these files, whatever their names.
pub(crate) fn raw_layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, content) in files {
        raw(&mut builder, EntryType::Regular, path, "", content);
    }
    builder.into_inner().unwrap()
}

/// Layers that try to write to, or to link to, a file outside.
pub(crate) fn hostile_layers(outside: &Path) -> Vec<Vec<u8>> {
    use EntryType::{Directory, Link, Regular, Symlink};
    let absolute = outside.display().to_string();
    let parent = outside.parent().unwrap().display().to_string();
    let up = format!("{}{}", "../".repeat(12), absolute.trim_start_matches('/'));
    let entries: Vec<Vec<(EntryType, &str, &str)>> = vec![
        vec![(Regular, &absolute, "")],
        vec![(Regular, &up, "")],
        vec![(Symlink, "dir", &parent), (Regular, "dir/outside", "")],
        vec![(Symlink, "link", &absolute), (Regular, "link", "")],
        vec![(Symlink, "link", &absolute)],
        vec![(Symlink, "link", &up)],
        vec![(Link, "link", &absolute)],
        vec![(Link, "link", &up)],
        vec![(Symlink, "dir", &parent), (Link, "link", "dir/outside")],
        // A link that is harmless where it is, and not one level up.
        vec![
            (Directory, "a/b/c", ""),
            (Symlink, "a/b/c/link", "../../../x"),
            (Link, "link", "a/b/c/link"),
        ],
        // Harmless links that lead out together.
        vec![
            (Symlink, "root", "."),
            (Symlink, "up", "root/.."),
            (Symlink, "out", "up/../../outside"),
            (Regular, "up/../outside", ""),
        ],
        vec![(Regular, ".wh...", "")],
        vec![(Regular, ".wh..", "")],
        vec![(Symlink, "dir", &parent), (Regular, "dir/.wh.outside", "")],
        vec![(Symlink, "dir", &parent), (Regular, "dir/.wh..wh..opq", "")],
        vec![(Symlink, "loop", "loop"), (Regular, "loop/x", "")],
    ];
    let build = |entries: Vec<(EntryType, &str, &str)>| {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, target) in entries {
            let content = if kind == Regular { "evil" } else { "" };
            raw(&mut builder, kind, path, target, content);
        }
        builder.into_inner().unwrap()
    };
    entries.into_iter().map(build).collect()
}

/// A set-user-id file, a hard link to it, a device, a pipe, and a read-only file in a read-only
/// directory.
pub(crate) fn special_layer() -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let mut append = |kind, path: &str, mode, content: &str| {
        let mut header = header(kind, mode, content.len());
        builder
            .append_data(&mut header, path, content.as_bytes())
            .unwrap();
    };
    append(EntryType::Regular, "tool", 0o6755, "tool");
    append(EntryType::Char, "device", 0o666, "");
    append(EntryType::Fifo, "pipe", 0o666, "");
    append(EntryType::Directory, "locked/", 0o555, "");
    append(EntryType::Regular, "locked/file", 0o444, "1");
    let mut link = header(EntryType::Link, 0o644, 0);
    builder.append_link(&mut link, "same", "tool").unwrap();
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Changes one byte of a blob in a registry's directory.
pub(crate) fn damage(registry: &Path, digest: &Digest) {
    let hex = digest.hex();
    let path = registry.join("blobs/sha256").join(&hex[..2]).join(hex);
    let mut content = fs::read(&path).unwrap();
    content[0] ^= 1;
    fs::write(path, content).unwrap();
}

/// Every file and link below a directory, relative to it and sorted.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found: Vec<String> = walk(root)
        .iter()
        .map(|path| path.strip_prefix(root).unwrap().display().to_string())
        .collect();
    found.sort();
    found
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Fails where a link, followed by the operating system, leads out of the root.
#[track_caller]
pub(crate) fn assert_links_inside(root: &Path) {
    let root = root.canonicalize().unwrap();
    for path in walk(&root) {
        let metadata = path.symlink_metadata().unwrap();
        if !metadata.is_symlink() {
            continue;
        }
        let target = fs::read_link(&path).unwrap();
        assert!(
            target.is_relative(),
            "{} -> {}",
            path.display(),
            target.display()
        );
        // Where its target does not exist, how far up it goes decides.
        match path.canonicalize() {
            Ok(real) => assert!(
                real.starts_with(&root),
                "{} -> {}",
                path.display(),
                real.display()
            ),
            Err(_) => {
                let depth = path
                    .parent()
                    .unwrap()
                    .strip_prefix(&root)
                    .unwrap()
                    .components()
                    .count();
                let up = target
                    .components()
                    .filter(|part| part.as_os_str() == "..")
                    .count();
                assert!(up <= depth, "{} -> {}", path.display(), target.display());
            }
        }
    }
}

/// Waits until something is true, which has to happen soon.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("it did not happen");
}

/// True where `program arguments` succeeds; otherwise says that the test is skipped, or fails
/// under `CI=true`.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn available(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let command = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    if !works {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "{program} is needed in CI"
        );
        println!(
            "skipped: {program} {} does not work here",
            arguments.join(" ")
        );
    }
    works
}

/// Runs a command to its end, which has to be a good one, and returns what it printed.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {text} {errors}"
    );
    text
}
