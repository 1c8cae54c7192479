//! Directories as they were: what is in them, by content, and how they are brought back.
//!
//! Content is kept once, under its digest, however many snapshots have it: a work tree with its
//! `.git` changes little from step to step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lab_image::Digest;
use serde::{Deserialize, Serialize};

/// Most files of one directory that are kept.
const MOST_FILES: usize = 5_000;
/// Most bytes of one directory that are kept.
const MOST_BYTES: u64 = 64 << 20;
/// What this program itself keeps in a learner's directory.
pub(super) const OWN: &str = ".devops-lab";

/// Contents by their digests.
#[derive(Clone, Debug)]
pub(super) struct Blobs(PathBuf);

/// A directory: what is in it, by path from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree(BTreeMap<String, Entry>);

/// Something in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Directory,
    File { digest: String, mode: u32 },
    Link { target: PathBuf },
}

/// Which part of a directory is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// What has one of these first names; all else belongs to somebody else.
    Named(&'a BTreeSet<String>),
}

impl Part<'_> {
    fn has(self, name: &str) -> bool {
        name != OWN
            && match self {
                Self::Whole => true,
                Self::Named(names) => names.contains(name),
            }
    }
}

impl Blobs {
    /// Kept in this directory.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.0.join(digest.trim_start_matches("sha256:"))
    }

    fn put(&self, content: &[u8]) -> io::Result<String> {
        let digest = Digest::of(content).as_str().to_owned();
        let path = self.path(&digest);
        if path.exists() {
            return Ok(digest);
        }
        // The learner's files are nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)?;
        // A name of its own, for two programs at once: a half-written blob has no digest.
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&temporary, content)?;
        fs::rename(&temporary, &path)?;
        Ok(digest)
    }

    fn get(&self, digest: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.path(digest);
        let content =
            fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        if Digest::of(&content).as_str() != digest {
            bail!("{} is damaged", path.display());
        }
        Ok(content)
    }

    /// Removes what no tree has any more.
    pub(super) fn retain(&self, used: &BTreeSet<String>) -> io::Result<()> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !used.contains(&format!("sha256:{name}")) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Tree {
    /// What is in a directory now; a directory that is not there is empty.
    ///
    /// # Errors
    /// Where it cannot be read, or is too large to be kept.
    pub(super) fn of(root: &Path, part: Part<'_>, blobs: &Blobs) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        let mut room = Room::default();
        for path in walk(root, part)? {
            let entry = entry(&root.join(&path), blobs, &mut room)
                .with_context(|| format!("failed to keep {}", root.join(&path).display()))?;
            tree.0.extend(entry.map(|entry| (path, entry)));
            room.check(root)?;
        }
        Ok(tree)
    }

    /// The digests of all contents.
    pub(super) fn digests(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter_map(|entry| match entry {
            Entry::File { digest, mode: _ } => Some(digest.as_str()),
            Entry::Directory | Entry::Link { .. } => None,
        })
    }

    /// Makes a directory so again. What is displaced goes to `backup`; answers how many files
    /// did.
    ///
    /// # Errors
    /// Of the file system. What was displaced until then is in `backup`.
    pub(super) fn restore(
        &self,
        root: &Path,
        part: Part<'_>,
        blobs: &Blobs,
        backup: &Path,
    ) -> anyhow::Result<usize> {
        let mut displaced = 0;
        let mut left = Vec::new();
        for path in walk(root, part)? {
            let place = root.join(&path);
            let is = look(&place).with_context(|| format!("failed to read {}", place.display()))?;
            let wanted = self.0.get(&path);
            match (&is, wanted) {
                (Some(is), Some(wanted)) if is == wanted => {}
                (Some(Entry::Directory), None) => left.push(place),
                // What is in it is looked at by itself.
                (Some(Entry::Directory), Some(_)) => left.push(place),
                _ => {
                    displace(&place, &backup.join(&path))
                        .with_context(|| format!("failed to put {} aside", place.display()))?;
                    displaced += 1;
                }
            }
        }
        // Innermost first; those that hold something that is not ours to take stay.
        for directory in left.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
        for (path, entry) in &self.0 {
            let place = root.join(path);
            put(&place, entry, blobs)
                .with_context(|| format!("failed to bring back {}", place.display()))?;
        }
        Ok(displaced)
    }
}

/// How much of a directory has been kept.
#[derive(Default)]
struct Room {
    files: usize,
    bytes: u64,
}

impl Room {
    fn check(&self, root: &Path) -> anyhow::Result<()> {
        if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            bail!(
                "{} is too large to be kept: more than {MOST_FILES} files or {} MB",
                root.display(),
                MOST_BYTES >> 20
            );
        }
        Ok(())
    }
}

/// Everything below a directory that belongs to the part, outer before inner.
fn walk(root: &Path, part: Part<'_>) -> anyhow::Result<Vec<String>> {
    fn below(root: &Path, inside: &str, found: &mut Vec<String>) -> io::Result<()> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(root.join(inside))? {
            // A name that is no text is none of a lab's.
            names.extend(entry?.file_name().into_string());
        }
        for name in names {
            let path = if inside.is_empty() {
                name
            } else {
                format!("{inside}/{name}")
            };
            let is_directory = fs::symlink_metadata(root.join(&path))?.is_dir();
            found.push(path.clone());
            if is_directory {
                below(root, &path, found)?;
            }
        }
        Ok(())
    }
    let failed = || format!("failed to read {}", root.display());
    let mut found = Vec::new();
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error).with_context(failed),
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(entry.with_context(failed)?.file_name().into_string());
    }
    for name in names.into_iter().filter(|name| part.has(name)) {
        let is_directory = fs::symlink_metadata(root.join(&name))
            .with_context(failed)?
            .is_dir();
        found.push(name.clone());
        if is_directory {
            below(root, &name, &mut found).with_context(failed)?;
        }
    }
    Ok(found)
}

fn entry(place: &Path, blobs: &Blobs, room: &mut Room) -> io::Result<Option<Entry>> {
    let metadata = match fs::symlink_metadata(place) {
        Ok(metadata) => metadata,
        // It went while we looked, as git's lock files do.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if metadata.is_dir() {
        return Ok(Some(Entry::Directory));
    }
    if metadata.is_symlink() {
        let target = fs::read_link(place)?;
        return Ok(Some(Entry::Link { target }));
    }
    if !metadata.is_file() {
        return Ok(None);
    }
    room.files += 1;
    room.bytes += metadata.len();
    if room.bytes > MOST_BYTES {
        return Ok(None);
    }
    let digest = blobs.put(&fs::read(place)?)?;
    let mode = metadata.permissions().mode() & 0o7777;
    Ok(Some(Entry::File { digest, mode }))
}

/// What is at a place, without keeping it.
fn look(place: &Path) -> io::Result<Option<Entry>> {
    let metadata = fs::symlink_metadata(place)?;
    Ok(if metadata.is_dir() {
        Some(Entry::Directory)
    } else if metadata.is_symlink() {
        let target = fs::read_link(place)?;
        Some(Entry::Link { target })
    } else if metadata.is_file() {
        let digest = Digest::of(&fs::read(place)?).as_str().to_owned();
        let mode = metadata.permissions().mode() & 0o7777;
        Some(Entry::File { digest, mode })
    } else {
        None
    })
}

fn displace(place: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::rename(place, to) {
        // Another file system.
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(place, to)?;
            fs::remove_file(place)
        }
        other => other,
    }
}

fn put(place: &Path, entry: &Entry, blobs: &Blobs) -> anyhow::Result<()> {
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    match entry {
        Entry::Directory => fs::create_dir_all(place)?,
        Entry::Link { target } => {
            if !place.is_symlink() {
                symlink(target, place)?;
            }
        }
        Entry::File { digest, mode } => {
            if fs::symlink_metadata(place).is_ok() {
                // Whatever differed was put aside.
                return Ok(());
            }
            fs::write(place, blobs.get(digest)?)?;
            fs::set_permissions(place, fs::Permissions::from_mode(*mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Desk {
        place: tempfile::TempDir,
        blobs: Blobs,
    }

    impl Desk {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            let blobs = Blobs::at(place.path().join("blobs"));
            Self { place, blobs }
        }

        fn root(&self) -> PathBuf {
            self.place.path().join("work")
        }

        fn backup(&self) -> PathBuf {
            self.place.path().join("backup")
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.root().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn read(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.root().join(path)).ok()
        }

        fn take(&self, part: Part<'_>) -> Tree {
            Tree::of(&self.root(), part, &self.blobs).unwrap()
        }

        fn restore(&self, tree: &Tree, part: Part<'_>) -> usize {
            tree.restore(&self.root(), part, &self.blobs, &self.backup())
                .unwrap()
        }
    }

    #[test]
    fn a_directory_is_so_again_and_nothing_is_lost() {
        let desk = Desk::new();
        desk.write("hello/app.js", "old");
        desk.write("hello/k8s/a.yaml", "a");
        desk.write("hello/run.sh", "#!/bin/sh");
        let script = desk.root().join("hello/run.sh");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        symlink("app.js", desk.root().join("hello/link")).unwrap();
        fs::create_dir(desk.root().join("hello/empty")).unwrap();
        let tree = desk.take(Part::Whole);

        desk.write("hello/app.js", "new");
        desk.write("hello/extra/deep.txt", "mine");
        fs::remove_dir_all(desk.root().join("hello/k8s")).unwrap();
        fs::remove_file(&script).unwrap();
        fs::remove_file(desk.root().join("hello/link")).unwrap();
        fs::remove_dir(desk.root().join("hello/empty")).unwrap();
        assert_eq!(desk.restore(&tree, Part::Whole), 2);
        assert_eq!(desk.take(Part::Whole), tree);
        assert_eq!(desk.read("hello/link").as_deref(), Some("old"));
        let kept = |path: &str| fs::read_to_string(desk.backup().join(path)).unwrap();
        assert_eq!(kept("hello/app.js"), "new");
        assert_eq!(kept("hello/extra/deep.txt"), "mine");
        assert_eq!(desk.restore(&tree, Part::Whole), 0, "it was so already");
    }

    #[test]
    fn a_file_where_a_directory_was_and_the_other_way_round_are_put_right() {
        let desk = Desk::new();
        desk.write("a/b", "1");
        desk.write("c", "2");
        let tree = desk.take(Part::Whole);
        fs::remove_dir_all(desk.root().join("a")).unwrap();
        desk.write("a", "file");
        fs::remove_file(desk.root().join("c")).unwrap();
        desk.write("c/d", "inner");
        desk.restore(&tree, Part::Whole);
        assert_eq!(desk.take(Part::Whole), tree);
    }

    #[test]
    fn what_is_not_of_the_lab_is_neither_kept_nor_touched() {
        let desk = Desk::new();
        desk.write("hello/app.js", "old");
        desk.write("diary.txt", "dear diary");
        desk.write(".devops-lab/backup-1/x", "earlier");
        let names = BTreeSet::from(["hello".to_owned()]);
        let tree = desk.take(Part::Named(&names));
        desk.write("diary.txt", "more");
        desk.write("hello/app.js", "new");
        assert_eq!(desk.restore(&tree, Part::Named(&names)), 1);
        assert_eq!(desk.read("diary.txt").as_deref(), Some("more"));
        assert_eq!(desk.read("hello/app.js").as_deref(), Some("old"));
        // Even where all of it is meant, what this program put aside stays.
        desk.restore(&Tree::default(), Part::Whole);
        assert_eq!(
            desk.read(".devops-lab/backup-1/x").as_deref(),
            Some("earlier")
        );
        assert_eq!(desk.read("hello/app.js"), None);
    }

    #[test]
    fn a_directory_that_is_too_large_is_refused_by_its_name() {
        let desk = Desk::new();
        for number in 0..=MOST_FILES {
            desk.write(&format!("many/{number}"), "");
        }
        let error = Tree::of(&desk.root(), Part::Whole, &desk.blobs).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    #[test]
    fn contents_that_no_snapshot_has_are_removed() {
        let desk = Desk::new();
        desk.write("a", "1");
        desk.write("b", "2");
        let tree = desk.take(Part::Whole);
        let used = tree.digests().take(1).map(str::to_owned).collect();
        desk.blobs.retain(&used).unwrap();
        assert_eq!(fs::read_dir(&desk.blobs.0).unwrap().count(), 1);
    }
}
