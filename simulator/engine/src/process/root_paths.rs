//! Finds where a path *inside* a container lies on the machine.
//!
//! There is no chroot, so a symbolic link `/app → /srv/app` in an image must be followed within
//! the image, or it would lead to the machine's own `/srv/app`.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// More links than this on one path are taken for a loop, as Linux does.
const MAX_LINKS: u32 = 40;

/// A directory that stands for `/`, and directories that lie elsewhere but appear under it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Root {
    /// What `/` is.
    pub(super) dir: PathBuf,
    /// Path inside, and the directory it stands for (scratch directories shared by a pod).
    pub(super) mounts: Vec<(PathBuf, PathBuf)>,
}

impl Root {
    /// The place of `path` on the machine, existing or not. A relative path starts at `/`, and
    /// nothing leads out: `..` stops at `/`, and links are read as the container would read
    /// them.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        let inside = normalise(Path::new(path));
        let mount = self
            .mounts
            .iter()
            .filter(|(at, _)| inside.starts_with(at))
            .max_by_key(|(at, _)| at.as_os_str().len());
        match mount {
            Some((at, dir)) => join(
                dir,
                inside
                    .strip_prefix(at)
                    .expect("the mount was found by this prefix"),
            ),
            None => follow_links(&self.dir, &inside),
        }
    }

    /// Where an absolute path of the container lies, if there is something; what is no absolute
    /// path or does not exist is no path of the container at all.
    pub(super) fn existing(&self, path: &str) -> Option<PathBuf> {
        if !path.starts_with('/') {
            return None;
        }
        Some(self.resolve(path)).filter(|place| place.exists())
    }
}

/// `/a/./b/../c` → `/a/c`, always absolute.
fn normalise(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Joins without the trailing slash that an empty `rest` would leave.
fn join(dir: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        dir.to_owned()
    } else {
        dir.join(rest)
    }
}

/// Walks `inside` (absolute, normal) below `root`, link by link.
fn follow_links(root: &Path, inside: &Path) -> PathBuf {
    let mut todo: VecDeque<OsString> = names(inside).collect();
    let mut done = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(&name);
        match fs::read_link(on_machine(root, &next)) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                for part in names(&target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(part);
                }
            }
            // Not a link, or nothing there (yet): taken as it is.
            Ok(_) | Err(_) => done = next,
        }
    }
    on_machine(root, &done)
}

fn names(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

fn on_machine(root: &Path, inside: &Path) -> PathBuf {
    join(
        root,
        inside.strip_prefix("/").expect("paths inside are absolute"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn sample() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("srv/app")).unwrap();
        fs::write(root.join("srv/app/main.js"), "").unwrap();
        symlink("/srv/app", root.join("app")).unwrap();
        symlink("../../../../srv", root.join("srv/app/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let root = Root {
            dir: root,
            mounts: vec![("/data".into(), dir.path().join("shared/data"))],
        };
        (dir, root)
    }

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let (dir, root) = sample();
        let place = root.resolve(path);
        let below = place
            .strip_prefix(dir.path())
            .expect("nothing leads out of the container");
        assert_eq!(below.to_str(), Some(expected), "{path}");
    }

    #[test]
    fn paths_lie_below_the_root_whatever_they_say() {
        check("/srv/app/main.js", "rootfs/srv/app/main.js");
        check("srv", "rootfs/srv");
        check("/", "rootfs");
        check("/../../etc/passwd", "rootfs/etc/passwd");
        check("/not/there", "rootfs/not/there");
    }

    #[test]
    fn links_are_read_as_the_container_would_read_them() {
        check("/app/main.js", "rootfs/srv/app/main.js");
        check("/app/up/app", "rootfs/srv/app");
        check("/loop", "rootfs/loop");
    }

    #[test]
    fn shared_directories_appear_where_they_are_mounted() {
        check("/data", "shared/data");
        check("/data/a/../b", "shared/data/b");
        check("/database", "rootfs/database");
    }

    #[test]
    fn only_absolute_paths_to_something_are_paths_of_the_container() {
        let (_dir, root) = sample();
        assert!(root.existing("/app/main.js").is_some());
        assert!(root.existing("/app/other.js").is_none());
        assert!(root.existing("app/main.js").is_none());
        assert!(root.existing("--port=8080").is_none());
    }
}
