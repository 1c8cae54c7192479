//! `COPY`: which files go where in the image.
//!
//! <https://docs.docker.com/reference/dockerfile/#copy>

use super::builder::Builder;
use super::stages::Source;
use crate::context::{Context, Item, NoSource};
use crate::dockerfile::Problem;
use crate::tarball::{Entries, Entry};
use crate::tree;

impl Builder<'_> {
    /// The entries of a `COPY` of all but the last word to the last one: out of the build's
    /// directory, or `from` a stage or image. Archives stand for what is in them.
    pub(super) fn copied(
        &self,
        words: &[String],
        from: Option<&Source>,
        archives: &[(String, Source)],
        mode: Option<u32>,
    ) -> Result<Entries, Problem> {
        let (destination, sources) = words.split_last().ok_or(Problem::Empty)?;
        let files = from.map_or(&self.context, |source| &source.files);
        let mut items = Vec::new();
        for source in sources {
            // Links on the way are followed inside of the image that has them.
            let inside = from.map(|from| from.tree.resolve(source));
            let selected = files.select(inside.as_ref().unwrap_or(source));
            items.extend(selected.map_err(|reason| self.no_source(reason, source, from))?);
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
            let to = Place {
                path: &place,
                into_directory,
                mode,
            };
            match archives.iter().find(|(archive, _)| archive == item) {
                Some((_, archive)) => self.copy_item(&mut entries, &archive.files, "", &to)?,
                None => self.copy_item(&mut entries, files, item, &to)?,
            }
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
        files: &Context,
        item: &str,
        to: &Place<'_>,
    ) -> Result<(), Problem> {
        let place = to.path;
        let at = |path: &str| self.tree.resolve(&tree::join(place, path));
        match files.item(item) {
            // A directory stands for what is in it.
            Some(Item::Directory(mode)) => {
                if !place.is_empty() && !self.tree.is_directory(place) {
                    entries.insert(place.to_owned(), Entry::Directory(mode));
                }
                for (path, found) in files.below(item) {
                    let source = format!("{item}/{path}");
                    let entry = entry(files, source.trim_start_matches('/'), found, to.mode)?;
                    let known =
                        matches!(found, Item::Directory(_)) && self.tree.is_directory(&at(path));
                    if !known {
                        entries.insert(at(path), entry);
                    }
                }
            }
            Some(found) => {
                let name = item.rsplit('/').next().unwrap_or(item);
                let path = if to.into_directory {
                    at(name)
                } else {
                    place.to_owned()
                };
                entries.insert(path, entry(files, item, &found, to.mode)?);
            }
            None => return Err(self.no_source(NoSource::Missing, item, None)),
        }
        Ok(())
    }

    fn no_source(&self, reason: NoSource, source: &str, from: Option<&Source>) -> Problem {
        let path = source.to_owned();
        match reason {
            _ if from.is_some() => Problem::SourceMissing {
                path,
                context: "the stage or image after --from".to_owned(),
            },
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

/// Where something is copied to.
struct Place<'a> {
    path: &'a str,
    into_directory: bool,
    mode: Option<u32>,
}

fn entry(files: &Context, path: &str, item: &Item, mode: Option<u32>) -> Result<Entry, Problem> {
    Ok(match item {
        Item::Directory(usual) => Entry::Directory(*usual),
        Item::File(usual) => Entry::File(files.path(path), mode.unwrap_or(*usual)),
        Item::Symlink(target) => Entry::Symlink(target.clone()),
        Item::Other => {
            return Err(Problem::SourceKind {
                path: path.to_owned(),
            });
        }
    })
}
