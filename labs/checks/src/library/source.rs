//! The files of labs, inside this program or in a directory.

use std::borrow::Cow;
#[cfg(test)]
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;

use crate::problem::{Problem, Problems};

/// The labs of this program.
#[derive(RustEmbed)]
#[folder = "../content"]
struct Content;

/// The sample applications that labs work on.
#[derive(RustEmbed)]
#[folder = "../../fixtures/apps"]
struct Apps;

/// Where an author's own applications are, beside the folders of the labs.
const APPS: &str = "apps";

/// Where the files of labs are read from. Paths are relative to the labs' root and parted by `/`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Source {
    #[default]
    Program,
    Directory(PathBuf),
    #[cfg(test)]
    Files(BTreeMap<String, String>),
}

/// A file that a lab gives to its learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Where it belongs in the learner's directory.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Source {
    /// The labs of a directory: itself, where it has a `lab.yaml`, or its subdirectories.
    pub(super) fn open(path: &Path) -> Result<(Self, BTreeSet<String>), Problem> {
        let name = path.display().to_string();
        let (root, folders) = if path.join("lab.yaml").is_file() {
            // Also where it is called `.` or `..`.
            let lab = fs::canonicalize(path).map_err(|error| unreadable(&name, &error))?;
            let folder = lab.file_name().unwrap_or_default().to_string_lossy();
            let folders = BTreeSet::from([folder.into_owned()]);
            let root = if path.file_name() == lab.file_name() {
                path.parent()
            } else {
                lab.parent()
            };
            (root.unwrap_or(Path::new("")).to_owned(), folders)
        } else {
            let entries = fs::read_dir(path).map_err(|error| unreadable(&name, &error))?;
            let labs = entries
                .flatten()
                .filter(|entry| entry.path().join("lab.yaml").is_file());
            let labs = labs.filter_map(|entry| entry.file_name().into_string().ok());
            (path.to_owned(), labs.collect())
        };
        if folders.is_empty() {
            let problem = Problem::of_file(&name, "there is no lab");
            return Err(problem
                .hint("a lab is a folder with a lab.yaml; devops-lab lab new NAME makes one"));
        }
        Ok((Self::Directory(root), folders))
    }

    /// The folders that are labs.
    pub(super) fn folders(&self) -> BTreeSet<String> {
        let of = |path: &str| Some(path.strip_suffix("/lab.yaml")?.to_owned());
        match self {
            Self::Program => Content::iter().filter_map(|path| of(&path)).collect(),
            Self::Directory(root) => {
                // The root of a single lab is `` where it is named by one word.
                let root = if root.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    root
                };
                Self::open(root)
                    .map(|(_, folders)| folders)
                    .unwrap_or_default()
            }
            #[cfg(test)]
            Self::Files(files) => files.keys().filter_map(|path| of(path)).collect(),
        }
    }

    /// A file.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Self::Program => Some(Content::get(path)?.data.into_owned()),
            Self::Directory(root) => fs::read(root.join(path)).ok(),
            #[cfg(test)]
            Self::Files(files) => Some(files.get(path)?.clone().into_bytes()),
        }
    }

    /// A file of text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.read(path)?).ok()
    }

    /// True where there is a file or a directory with files.
    pub(super) fn has(&self, path: &str) -> bool {
        self.read(path).is_some() || !self.below(path).is_empty()
    }

    /// The files below a directory, by their paths from the labs' root, sorted.
    pub(super) fn below(&self, directory: &str) -> Vec<String> {
        let lead = format!("{directory}/");
        let mut found: Vec<_> = match self {
            Self::Program => Content::iter()
                .filter(|path| path.starts_with(&lead))
                .map(Cow::into_owned)
                .collect(),
            Self::Directory(root) => walk(root, directory),
            #[cfg(test)]
            Self::Files(files) => {
                let inside = files.keys().filter(|path| path.starts_with(&lead));
                inside.cloned().collect()
            }
        };
        found.sort();
        found
    }

    /// The files of a sample application, by their paths in it, sorted: an author's own, else one
    /// of this program. Empty where there is no such application.
    pub(super) fn app(&self, name: &str) -> Vec<GivenFile> {
        let own = format!("{APPS}/{name}");
        let given = |path: String, content| GivenFile { path, content };
        let files: Vec<_> = self
            .below(&own)
            .into_iter()
            .filter_map(|path| {
                let inside = path.strip_prefix(&own)?.trim_start_matches('/').to_owned();
                Some(given(inside, self.read(&path)?))
            })
            .collect();
        if !files.is_empty() {
            return files;
        }
        let lead = format!("{name}/");
        let files = Apps::iter().filter_map(|path| {
            let inside = path.strip_prefix(&lead)?.to_owned();
            Some(given(inside, Apps::get(&path)?.data.into_owned()))
        });
        files.collect()
    }

    /// The names of all sample applications.
    pub(super) fn apps(&self) -> BTreeSet<String> {
        let own = self.below(APPS);
        let own = own.iter().filter_map(|path| path.split('/').nth(1));
        let embedded = Apps::iter().filter_map(|path| Some(path.split_once('/')?.0.to_owned()));
        own.map(str::to_owned).chain(embedded).collect()
    }

    /// How the author knows a file.
    pub(super) fn name(&self, file: &str) -> String {
        match self {
            Self::Directory(root) => root.join(file).display().to_string(),
            Self::Program => file.to_owned(),
            #[cfg(test)]
            Self::Files(_) => file.to_owned(),
        }
    }

    /// Problems in the order of files and lines, their files named as the author knows them.
    pub(super) fn sorted(&self, mut problems: Vec<Problem>) -> Problems {
        for problem in &mut problems {
            problem.file = self.name(&problem.file);
        }
        problems.sort_by(|one, other| {
            let key = |problem: &Problem| (problem.file.clone(), problem.line, problem.column);
            key(one).cmp(&key(other))
        });
        problems.dedup();
        Problems(problems)
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Problem {
    Problem::of_file(name, format!("cannot be read: {error}"))
}

fn walk(root: &Path, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root.join(directory)).into_iter().flatten();
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((format!("{directory}/{name}"), entry.path().is_dir()))
    });
    names
        .flat_map(|(path, is_directory)| {
            if is_directory {
                walk(root, &path)
            } else {
                vec![path]
            }
        })
        .collect()
}
