//! `COPY`: which files go where in the image.
//!
//! <https://docs.docker.com/reference/dockerfile/#copy>

use super::builder::Builder;
use crate::context::{Item, NoSource};
use crate::dockerfile::Problem;
use crate::tarball::{Entries, Entry};
use crate::tree;

impl Builder<'_> {
    /// The entries of a `COPY` of all but the last word to the last one.
    pub(super) fn copied(&self, words: &[String], mode: Option<u32>) -> Result<Entries, Problem> {
        let (destination, sources) = words.split_last().ok_or(Problem::Empty)?;
        let mut items = Vec::new();
        for source in sources {
            let selected = self.context.select(source);
            items.extend(selected.map_err(|reason| self.no_source(reason, source))?);
        }
        let place = tree::join(&self.config.config.working_dir, destination);
        let into_directory = destination.ends_with('/')
            || destination == "."
            || destination.ends_with("/.")
            || self.tree.is_directory(&place);
        if items.len() > 1 && !into_directory {
            return Err(Problem::DestinationNotDirectory {
                destination: destination.clone(),
            });
        }
        let place = self.tree.resolve(&place);
        let mut entries = Entries::new();
        for item in &items {
            self.copy_item(&mut entries, item, &place, into_directory, mode)?;
        }
        let paths: Vec<String> = entries.keys().cloned().collect();
        for path in paths {
            self.add_parents(&mut entries, &path);
        }
        Ok(entries)
    }

    fn copy_item(
        &self,
        entries: &mut Entries,
        item: &str,
        place: &str,
        into_directory: bool,
        mode: Option<u32>,
    ) -> Result<(), Problem> {
        let at = |path: &str| self.tree.resolve(&tree::join(place, path));
        match self.context.item(item) {
            // A directory stands for what is in it.
            Some(Item::Directory) => {
                if !place.is_empty() && !self.tree.is_directory(place) {
                    entries.insert(place.to_owned(), Entry::Directory(0o755));
                }
                for (path, found) in self.context.below(item) {
                    let source = format!("{item}/{path}");
                    let entry = self.entry(source.trim_start_matches('/'), found, mode)?;
                    let known = *found == Item::Directory && self.tree.is_directory(&at(path));
                    if !known {
                        entries.insert(at(path), entry);
                    }
                }
            }
            Some(found) => {
                let name = item.rsplit('/').next().unwrap_or(item);
                let path = if into_directory {
                    at(name)
                } else {
                    place.to_owned()
                };
                entries.insert(path, self.entry(item, &found, mode)?);
            }
            None => return Err(self.no_source(NoSource::Missing, item)),
        }
        Ok(())
    }

    fn entry(&self, path: &str, item: &Item, mode: Option<u32>) -> Result<Entry, Problem> {
        Ok(match item {
            Item::Directory => Entry::Directory(0o755),
            // Modes differ between machines (umask, Windows); what matters is who may run it.
            Item::File { executable } => {
                let usual = if *executable { 0o755 } else { 0o644 };
                Entry::File(self.context.path(path), mode.unwrap_or(usual))
            }
            Item::Symlink(target) => Entry::Symlink(target.clone()),
            Item::Other => {
                return Err(Problem::SourceKind {
                    path: path.to_owned(),
                });
            }
        })
    }

    fn no_source(&self, reason: NoSource, source: &str) -> Problem {
        let path = source.to_owned();
        match reason {
            NoSource::Outside => Problem::SourceOutside { path },
            NoSource::Ignored => Problem::SourceIgnored { path },
            NoSource::Missing => Problem::SourceMissing {
                path,
                context: self.request.context_dir.display().to_string(),
            },
        }
    }

    /// Adds the directories above a path that the image does not have.
    pub(super) fn add_parents(&self, entries: &mut Entries, path: &str) {
        for (index, _) in path.match_indices('/') {
            let parent = &path[..index];
            if !self.tree.is_directory(parent) {
                let parent = entries.entry(parent.to_owned());
                parent.or_insert(Entry::Directory(0o755));
            }
        }
    }
}
