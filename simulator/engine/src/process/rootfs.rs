//! The files of one container: a private tree made from the image's, with the pod's mounts in
//! their places.
//!
//! Small files are copied and large ones are hard links to the image's. A container that
//! replaces a large file (as package managers and editors do) gets its own; one that overwrites
//! a large file *in place* changes the image for all its containers. That is the price of a
//! start in milliseconds without root: applications write data, and large files in images are
//! programs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path};

use super::root_paths::Root;
use crate::{ContainerConfig, Mount};

/// Files up to this size are copied, so that a container may write to them.
const COPY_UP_TO_BYTES: u64 = 256 << 10;

/// Makes the tree in `container_dir/rootfs`.
pub(super) fn prepare(
    image_rootfs: &Path,
    container_dir: &Path,
    shared_dir: &Path,
    working_dir: &str,
    config: &ContainerConfig,
) -> io::Result<Root> {
    let mut root = Root {
        dir: container_dir.join("rootfs"),
        mounts: Vec::new(),
    };
    copy_tree(image_rootfs, &root.dir)?;
    let mut mounts: Vec<&Mount> = config.mounts.iter().collect();
    // The outer before the inner, so that the inner appears in it.
    mounts.sort_by_key(|mount| mount.container_path.len());
    for mount in mounts {
        add_mount(&mut root, mount, shared_dir)?;
    }
    fs::create_dir_all(root.resolve(working_dir))?;
    if config.read_only_root {
        forbid_writing(&root.dir)?;
    }
    Ok(root)
}

/// Removes a tree, also one whose directories forbid it. What is not there is fine.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            each_directory(dir, &|dir| {
                fs::set_permissions(dir, Permissions::from_mode(0o700))
            })?;
            fs::remove_dir_all(dir)
        }
        other => other,
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            copy_file(&source, &target, entry.metadata()?.len())?;
        }
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path, bytes: u64) -> io::Result<()> {
    // A link is refused between file systems, and where a file has too many; a copy always works.
    if bytes > COPY_UP_TO_BYTES && fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    fs::copy(source, target).map(|_| ())
}

fn add_mount(root: &mut Root, mount: &Mount, shared_dir: &Path) -> io::Result<()> {
    let place = root.resolve(&mount.container_path);
    if place == root.dir {
        return Err(io::Error::other(
            "a volume cannot be mounted at / in the process engine",
        ));
    }
    // A mount hides what the image has there.
    if place.is_dir() {
        remove(&place)?;
    } else if place.symlink_metadata().is_ok() {
        fs::remove_file(&place)?;
    }
    fs::create_dir_all(place.parent().expect("a place below the root has a parent"))?;
    match &mount.shared_name {
        Some(name) => {
            let shared = shared_dir.join(safe_relative(name)?);
            fs::create_dir_all(&shared)?;
            symlink(&shared, &place)?;
            let inside = Path::new("/").join(mount.container_path.trim_matches('/'));
            root.mounts.push((inside, shared));
        }
        None => match mount.single_file() {
            Some(content) => write_file(&place, content, mount.read_only)?,
            None => write_files(&place, mount)?,
        },
    }
    Ok(())
}

fn write_file(file: &Path, content: &[u8], read_only: bool) -> io::Result<()> {
    fs::write(file, content)?;
    let mode = if read_only { 0o444 } else { 0o644 };
    fs::set_permissions(file, Permissions::from_mode(mode))
}

fn write_files(place: &Path, mount: &Mount) -> io::Result<()> {
    fs::create_dir_all(place)?;
    for (name, content) in &mount.files {
        let file = place.join(safe_relative(name)?);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        write_file(&file, content, mount.read_only)?;
    }
    if mount.read_only {
        forbid_writing(place)
    } else {
        Ok(())
    }
}

/// A path that stays below where it is joined.
fn safe_relative(path: &str) -> io::Result<&Path> {
    let relative = Path::new(path);
    let safe = relative
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if safe && !path.is_empty() {
        Ok(relative)
    } else {
        Err(io::Error::other(format!(
            "{path:?} is not a path below the volume"
        )))
    }
}

/// Takes the right to add and remove files from every directory. It does not bind root, nor a
/// process that gives itself the right back: here it catches mistakes, not malice.
fn forbid_writing(dir: &Path) -> io::Result<()> {
    each_directory(dir, &|dir| {
        fs::set_permissions(dir, Permissions::from_mode(0o555))
    })
}

/// The directory itself first, so that one without permissions is opened before it is read.
fn each_directory(dir: &Path, act: &impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    act(dir)?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            each_directory(&entry.path(), act)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    struct Sample {
        dir: tempfile::TempDir,
    }

    impl Sample {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let image = dir.path().join("image");
            fs::create_dir_all(image.join("app/sub")).unwrap();
            fs::create_dir_all(image.join("etc/config")).unwrap();
            fs::write(image.join("app/small"), "small").unwrap();
            fs::write(image.join("app/large"), vec![0; 300 << 10]).unwrap();
            fs::write(image.join("etc/config/hidden"), "").unwrap();
            symlink("/app/small", image.join("link")).unwrap();
            Self { dir }
        }

        fn prepare(&self, name: &str, config: &ContainerConfig) -> io::Result<Root> {
            let path = self.dir.path();
            prepare(
                &path.join("image"),
                &path.join(name),
                &path.join("shared"),
                "/work",
                config,
            )
        }
    }

    fn mounts(mounts: Vec<Mount>) -> ContainerConfig {
        ContainerConfig {
            mounts,
            ..ContainerConfig::default()
        }
    }

    fn files(path: &str, name: &str, text: &str, read_only: bool) -> Mount {
        let files = BTreeMap::from([(name.to_owned(), text.as_bytes().to_vec())]);
        Mount {
            container_path: path.into(),
            files,
            shared_name: None,
            read_only,
        }
    }

    fn scratch(path: &str, name: &str) -> Mount {
        Mount {
            container_path: path.into(),
            files: BTreeMap::new(),
            shared_name: Some(name.into()),
            read_only: false,
        }
    }

    #[test]
    fn a_container_writes_to_its_own_copy() {
        let sample = Sample::new();
        let root = sample.prepare("web", &ContainerConfig::default()).unwrap();
        fs::write(root.resolve("/link"), "changed").unwrap();
        assert_eq!(
            fs::read_to_string(root.dir.join("app/small")).unwrap(),
            "changed"
        );
        assert_eq!(
            fs::read_to_string(sample.dir.path().join("image/app/small")).unwrap(),
            "small"
        );
        assert!(root.resolve("/work").is_dir());
    }

    #[test]
    fn large_files_cost_no_space() {
        let sample = Sample::new();
        let root = sample.prepare("web", &ContainerConfig::default()).unwrap();
        assert_eq!(fs::metadata(root.dir.join("app/large")).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(root.dir.join("app/small")).unwrap().nlink(), 1);
    }

    #[test]
    fn mounted_files_hide_what_the_image_has_there() {
        let sample = Sample::new();
        let config = mounts(vec![files("/etc/config", "colour", "blue", false)]);
        let root = sample.prepare("web", &config).unwrap();
        assert_eq!(
            fs::read_to_string(root.existing("/etc/config/colour").unwrap()).unwrap(),
            "blue"
        );
        assert!(root.existing("/etc/config/hidden").is_none());
    }

    #[test]
    fn containers_of_a_sandbox_share_scratch_directories_by_name() {
        let sample = Sample::new();
        let writer = sample
            .prepare("writer", &mounts(vec![scratch("/out", "data")]))
            .unwrap();
        let reader = sample
            .prepare("reader", &mounts(vec![scratch("/in/data", "data")]))
            .unwrap();
        fs::write(writer.dir.join("out/news"), "hello").unwrap();
        assert_eq!(
            fs::read_to_string(reader.existing("/in/data/news").unwrap()).unwrap(),
            "hello"
        );
    }

    #[test]
    fn a_tree_that_forbids_writing_can_still_be_removed() {
        let sample = Sample::new();
        let mut config = mounts(vec![files("/secret", "key", "k", true)]);
        config.read_only_root = true;
        let root = sample.prepare("web", &config).unwrap();
        assert_eq!(fs::metadata(&root.dir).unwrap().mode() & 0o777, 0o555);
        remove(&sample.dir.path().join("web")).unwrap();
        remove(&sample.dir.path().join("web")).expect("a second removal finds nothing to do");
        assert!(!root.dir.exists());
    }

    #[track_caller]
    fn check_refused(mount: Mount) {
        let sample = Sample::new();
        assert!(sample.prepare("web", &mounts(vec![mount])).is_err());
    }

    #[test]
    fn mounts_that_lead_out_of_the_container_are_refused() {
        check_refused(files("/etc/config", "../../../../outside", "", false));
        check_refused(files("/etc/config", "/outside", "", false));
        check_refused(scratch("/data", "../outside"));
        check_refused(scratch("/", "data"));
    }
}
