//! A new lab to begin from: small, in every language, and free of faults.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a new lab, below its folder.
const FILES: &[(&str, &str)] = &[
    ("lab.yaml", include_str!("scaffold/lab.yaml")),
    ("en.md", include_str!("scaffold/en.md")),
    ("fr.md", include_str!("scaffold/fr.md")),
    ("solution/look.sh", include_str!("scaffold/look.sh")),
    ("solution/image.sh", include_str!("scaffold/image.sh")),
    (
        "mistakes/built-not-pushed.sh",
        include_str!("scaffold/built-not-pushed.sh"),
    ),
];

/// Why a new lab cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// It cannot be called so.
    #[error(
        "a lab cannot be called {name:?}; use lower-case letters, digits and -, such as break-v2"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// There is one already.
    #[error("{path} is there already; choose another name, or remove it")]
    Exists {
        /// Its folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("failed to write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Writes a new lab into a directory of labs, after those that are there. Answers with its folder.
///
/// # Errors
/// Where the name will not do, where there is such a lab, or where it cannot be written.
pub fn write(directory: &Path, name: &str) -> Result<PathBuf, ScaffoldError> {
    if !lab_api::names::is_dns_label(name) {
        return Err(ScaffoldError::Name {
            name: name.to_owned(),
        });
    }
    let folders = fs::read_dir(directory).into_iter().flatten().flatten();
    let folders: Vec<_> = folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    let numbered = |folder: &String| {
        let (number, rest) = folder.split_once('-')?;
        Some((number.parse::<u32>().ok()?, rest == name))
    };
    let mut numbered_labs = folders.iter().map(|folder| (folder, numbered(folder)));
    let taken = numbered_labs
        .find(|(folder, numbered)| *folder == name || numbered.is_some_and(|(_, is_it)| is_it));
    if let Some((folder, _)) = taken {
        return Err(ScaffoldError::Exists {
            path: directory.join(folder),
        });
    }
    let last = folders
        .iter()
        .filter_map(numbered)
        .map(|(number, _)| number);
    let next = last.max().map_or(1, |last| last + 1);
    let folder = directory.join(format!("{next:02}-{name}"));
    for (file, text) in FILES {
        let path = folder.join(file);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, text.replace("NAME", name)));
        written.map_err(|source| ScaffoldError::Io { path, source })?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Labs;

    #[test]
    fn a_new_lab_is_free_of_faults_and_comes_after_the_others() {
        let labs = tempfile::tempdir().unwrap();
        for (name, folder) in [("first", "01-first"), ("break-v2", "02-break-v2")] {
            let written = write(labs.path(), name).unwrap();
            assert_eq!(written, labs.path().join(folder));
            let found = Labs::lint(Some(&written)).unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(found, [folder]);
        }
        assert_eq!(Labs::lint(Some(labs.path())).unwrap().len(), 2);
        let read = Labs::from_dir(labs.path()).unwrap();
        assert_eq!(read.get("break-v2").unwrap().steps.len(), 2);
    }

    #[test]
    fn a_lab_that_is_there_is_left_alone() {
        let labs = tempfile::tempdir().unwrap();
        let folder = write(labs.path(), "mine").unwrap();
        fs::write(folder.join("en.md"), "my own").unwrap();
        let error = write(labs.path(), "mine").unwrap_err().to_string();
        assert!(error.contains("01-mine is there already"), "{error}");
        assert_eq!(fs::read_to_string(folder.join("en.md")).unwrap(), "my own");
        assert!(matches!(
            write(labs.path(), "My Lab"),
            Err(ScaffoldError::Name { .. })
        ));
    }
}
