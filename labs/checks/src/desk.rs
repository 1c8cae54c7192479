//! The learner's files, which checks read and never write.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use crate::context::Desk;
use crate::diagnosis::Diagnosis;

/// Largest file that is read: what people write by hand is far below.
const FILE_MAX: u64 = 1 << 20;

/// Why a file has no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoText {
    /// It is not there; these are its neighbours.
    Missing {
        /// Names in the directory that it should be in.
        present: Vec<String>,
    },
    /// It is there and cannot be read.
    Unreadable(String),
}

impl Desk {
    /// Where a lab's path is. The error is the diagnosis for a workspace that is not there.
    pub(crate) fn path(&self, path: &str) -> Result<PathBuf, Diagnosis> {
        match &self.workspace {
            Some(workspace) if workspace.is_dir() => Ok(workspace.join(path)),
            Some(_) | None => Err(Diagnosis::NoWorkspace {
                path: path.to_owned(),
            }),
        }
    }
}

/// For [`CheckDef::accepts`](crate::checks::CheckDef::accepts): whether a path stays in the
/// workspace.
pub(crate) fn is_inside(path: &str) -> Result<(), String> {
    let inside = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if inside && !path.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "{path:?} is not a path inside of the learner's directory"
        ))
    }
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, NoText> {
    let unreadable = |problem: String| NoText::Unreadable(problem);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(NoText::Missing {
                present: neighbours(path),
            });
        }
        Err(error) => return Err(unreadable(error.to_string())),
    };
    // A pipe in its place would be waited for without end.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(unreadable("not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(unreadable(format!("larger than {FILE_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| unreadable("not UTF-8".to_owned()))
}

/// The names beside a path, so that a misspelling can be seen.
fn neighbours(path: &Path) -> Vec<String> {
    let entries = path.parent().map(std::fs::read_dir).and_then(Result::ok);
    let names = entries.into_iter().flatten().flatten();
    let mut names: Vec<_> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.truncate(12);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_lab_stays_in_the_workspace() {
        is_inside("hello/Dockerfile").unwrap();
        is_inside("./hello").unwrap();
        for path in ["", "/etc/passwd", "../other", "hello/../../x"] {
            is_inside(path).unwrap_err();
        }
    }

    #[test]
    fn without_a_workspace_the_lab_has_to_be_begun() {
        let nowhere = Desk::default().path("hello/app.js").unwrap_err();
        assert_eq!(nowhere.id(), "no-workspace");
        let gone = Desk {
            workspace: Some("/nonexistent/place".into()),
            ..Desk::default()
        };
        assert_eq!(gone.path("x").unwrap_err().id(), "no-workspace");
    }

    #[test]
    fn what_is_no_text_is_said_to_be_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Dokerfile"), "FROM x").unwrap();
        std::fs::write(dir.path().join("binary"), [0xff, 0xfe]).unwrap();
        let missing = NoText::Missing {
            present: vec!["Dokerfile".to_owned(), "binary".to_owned()],
        };
        assert_eq!(text(&dir.path().join("Dockerfile")), Err(missing));
        assert_eq!(text(&dir.path().join("Dokerfile")).as_deref(), Ok("FROM x"));
        let unreadable = |name: &str| {
            let found = text(&dir.path().join(name));
            assert!(matches!(found, Err(NoText::Unreadable(_))), "{found:?}");
        };
        unreadable("binary");
        unreadable(".");
        std::fs::write(dir.path().join("big"), vec![b'a'; (1 << 20) + 1]).unwrap();
        unreadable("big");
    }
}
