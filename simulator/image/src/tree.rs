//! What a stack of layers has at which path, without unpacking it: a builder has to know which
//! directories exist and where links lead.

use std::collections::BTreeMap;
use std::io::Read;

use tar::{Archive, EntryType};

use crate::rootfs::LayerError;
use crate::tarball::{Entries, Entry};

/// Links followed on the way to one file; more are a loop.
const MAX_LINKS: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File,
    Symlink(String),
}

/// Paths of an image, without a leading slash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Adds a layer from its (uncompressed) archive.
    pub(crate) fn add_layer(&mut self, layer: impl Read) -> Result<(), LayerError> {
        let mut archive = Archive::new(layer);
        for entry in archive.entries().map_err(LayerError::Read)? {
            let entry = entry.map_err(LayerError::Read)?;
            let path = entry.path().map_err(LayerError::Read)?;
            let path = normal(&path.to_string_lossy());
            let node = match entry.header().entry_type() {
                EntryType::Directory => Node::Directory,
                EntryType::Symlink => {
                    let target = entry.link_name().map_err(LayerError::Read)?;
                    Node::Symlink(target.unwrap_or_default().to_string_lossy().into_owned())
                }
                _ => Node::File,
            };
            self.add_entry(&path, node);
        }
        Ok(())
    }

    /// Adds a layer that is about to be written.
    pub(crate) fn add_entries(&mut self, entries: &Entries) {
        for (path, entry) in entries {
            let node = match entry {
                Entry::Directory(_) => Node::Directory,
                Entry::File(..) | Entry::Content(_) => Node::File,
                Entry::Symlink(target) => Node::Symlink(target.to_string_lossy().into_owned()),
            };
            self.add_entry(path, node);
        }
    }

    fn add_entry(&mut self, path: &str, node: Node) {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name == ".wh..wh..opq" {
            self.remove_below(parent);
        } else if let Some(hidden) = name.strip_prefix(".wh.") {
            let hidden = normal(&format!("{parent}/{hidden}"));
            self.remove_below(&hidden);
            self.0.remove(&hidden);
        } else if !path.is_empty() {
            self.0.insert(path.to_owned(), node);
        }
    }

    fn remove_below(&mut self, directory: &str) {
        let prefix = format!("{directory}/");
        self.0.retain(|path, _| !path.starts_with(&prefix));
    }

    /// True for a directory, also one that is only there as a part of a longer path.
    pub(crate) fn is_directory(&self, path: &str) -> bool {
        let path = self.resolve(path);
        match self.0.get(&path) {
            Some(node) => *node == Node::Directory,
            None => path.is_empty() || self.has_below(&path),
        }
    }

    /// True where anything is at the path.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let path = self.resolve(path);
        path.is_empty() || self.0.contains_key(&path) || self.has_below(&path)
    }

    fn has_below(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let mut after = self.0.range(prefix.clone()..);
        after
            .next()
            .is_some_and(|(found, _)| found.starts_with(&prefix))
    }

    /// The path with all links on it followed, without a leading slash. A loop of links is left
    /// as it is; whoever opens it will be told.
    pub(crate) fn resolve(&self, path: &str) -> String {
        let mut path = normal(path);
        for _ in 0..MAX_LINKS {
            let Some(next) = self.follow_first_link(&path) else {
                return path;
            };
            path = next;
        }
        path
    }

    fn follow_first_link(&self, path: &str) -> Option<String> {
        let ends = path.match_indices('/').map(|(index, _)| index);
        ends.chain([path.len()]).find_map(|end| {
            let Some(Node::Symlink(target)) = self.0.get(&path[..end]) else {
                return None;
            };
            let parent = path[..end]
                .rsplit_once('/')
                .map_or("", |(parent, _)| parent);
            Some(join(parent, &format!("{target}{}", &path[end..])))
        })
    }
}

/// The path that `path` means in the directory `base`: absolute paths stay, `.` and `..` go.
/// No result has a leading slash or leads above the root.
pub(crate) fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') {
        normal(path)
    } else {
        normal(&format!("{base}/{path}"))
    }
}

fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let entries = [
            ("usr/bin", Entry::Directory(0o755)),
            ("bin", Entry::Symlink("usr/bin".into())),
            ("usr/bin/sh", Entry::Content(Vec::new())),
            ("etc/a/b", Entry::Content(Vec::new())),
            ("loop", Entry::Symlink("loop".into())),
            ("up", Entry::Symlink("/../../etc".into())),
        ];
        let mut tree = Tree::default();
        tree.add_entries(&entries.map(|(path, entry)| (path.to_owned(), entry)).into());
        tree
    }

    #[test]
    fn links_are_followed_inside_the_image() {
        let tree = tree();
        assert_eq!(tree.resolve("/bin/tool"), "usr/bin/tool");
        assert_eq!(tree.resolve("up/a"), "etc/a");
        assert_eq!(tree.resolve("../../x"), "x");
        assert_eq!(tree.resolve("loop/x"), "loop/x/".trim_end_matches('/'));
    }

    #[test]
    fn directories_are_known_even_without_an_entry_of_their_own() {
        let tree = tree();
        for (path, directory, exists) in [
            ("/", true, true),
            ("bin", true, true),
            ("etc", true, true),
            ("etc/a", true, true),
            ("etc/a/b", false, true),
            ("etc/a/b/c", false, false),
            ("et", false, false),
        ] {
            assert_eq!(tree.is_directory(path), directory, "{path}");
            assert_eq!(tree.exists(path), exists, "{path}");
        }
    }

    #[test]
    fn whiteouts_hide_what_lower_layers_have() {
        let mut tree = tree();
        let entries = [
            ("etc/a/.wh..wh..opq", Entry::Content(Vec::new())),
            ("usr/.wh.bin", Entry::Content(Vec::new())),
        ];
        tree.add_entries(&entries.map(|(path, entry)| (path.to_owned(), entry)).into());
        assert!(!tree.exists("etc/a/b"));
        assert!(!tree.exists("usr/bin/sh"));
    }
}
