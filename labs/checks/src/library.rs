//! Where labs come from: this program, or a directory of the author's.
//!
//! ```text
//! NN-slug/lab.yaml          structure: steps, checks, hints
//! NN-slug/en.md, fr.md      prose, one section per step
//! NN-slug/start.sh          optional: brings a cluster to where the lab begins
//! NN-slug/files/…           optional: what the learner is given beside the application
//! NN-slug/solution/STEP.sh  how a step is done
//! NN-slug/mistakes/ID.sh    how it goes wrong, with the diagnosis that it must get
//! apps/NAME/…               optional, in an author's directory: applications of the labs
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use crate::format::Places;
use crate::lab::Lab;
use crate::problem::{Problem, Problems};

mod lint;
mod load;
mod source;
#[cfg(test)]
mod tests;
mod text;

pub use source::GivenFile;

use source::Source;

/// Labs, in the order of their folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labs {
    labs: Vec<Lab>,
    source: Source,
}

impl Labs {
    /// The labs that this program brings.
    ///
    /// # Errors
    /// All faults in them; a test sees to it that there are none.
    pub fn embedded() -> Result<Self, Problems> {
        Self::read(Source::Program, &Source::Program.folders())
    }

    /// The labs of a directory: itself, where it has a `lab.yaml`, or its subdirectories.
    ///
    /// # Errors
    /// What keeps them from being used, with file, line and column.
    pub fn from_dir(path: &Path) -> Result<Self, Problems> {
        let (source, folders) = Source::open(path).map_err(|problem| Problems(vec![problem]))?;
        Self::read(source, &folders)
    }

    fn read(source: Source, folders: &BTreeSet<String>) -> Result<Self, Problems> {
        let (labs, problems) = load_all(&source, folders);
        if problems.is_empty() {
            let labs = labs.into_iter().map(|(lab, _)| lab).collect();
            Ok(Self { labs, source })
        } else {
            Err(source.sorted(problems))
        }
    }

    /// Looks at the labs of a directory, or at those of this program, more closely than using
    /// them takes. Answers with their folders.
    ///
    /// # Errors
    /// Every fault in every lab, with file, line and column.
    pub fn lint(path: Option<&Path>) -> Result<Vec<String>, Problems> {
        let (source, folders) = match path {
            Some(path) => Source::open(path).map_err(|problem| Problems(vec![problem]))?,
            None => (Source::Program, Source::Program.folders()),
        };
        Self::lint_all(&source, &folders)
    }

    fn lint_all(source: &Source, folders: &BTreeSet<String>) -> Result<Vec<String>, Problems> {
        let (labs, mut problems) = load_all(source, folders);
        let catalog = lint::Catalog::of(source);
        lint::together(&labs, &catalog, &mut problems);
        for (lab, places) in &labs {
            lint::lab(source, lab, places, &catalog, &mut problems);
        }
        if problems.is_empty() {
            Ok(folders.iter().cloned().collect())
        } else {
            Err(source.sorted(problems))
        }
    }

    /// All labs.
    pub fn iter(&self) -> impl Iterator<Item = &Lab> {
        self.labs.iter()
    }

    /// A script of a lab, such as `start.sh`, `solution/STEP.sh` or `mistakes/ID.sh`; none where
    /// the lab has no such file.
    #[must_use]
    pub fn script(&self, lab: &Lab, name: &str) -> Option<String> {
        self.source.text(&format!("{}/{name}", lab.folder))
    }

    /// What is in `files/` of a lab.
    #[must_use]
    pub fn given_files(&self, lab: &Lab) -> Vec<GivenFile> {
        let root = format!("{}/files", lab.folder);
        let file = |path: String| {
            let content = self.source.read(&path)?;
            let path = path.strip_prefix(&root)?.trim_start_matches('/').to_owned();
            Some(GivenFile { path, content })
        };
        self.source
            .below(&root)
            .into_iter()
            .filter_map(file)
            .collect()
    }

    /// The files of a sample application, with all its versions, by their paths in it: one of the
    /// author's, else one of this program. Empty where there is no such application.
    #[must_use]
    pub fn app_files(&self, name: &str) -> Vec<GivenFile> {
        self.source.app(name)
    }

    /// The lab of this name; its folder, or the beginning of its name where that is clear, do
    /// too.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Lab> {
        let exact = self
            .labs
            .iter()
            .find(|lab| lab.name == name || lab.folder == name);
        exact.or_else(|| {
            let mut starting = self.labs.iter().filter(|lab| lab.name.starts_with(name));
            starting.next().filter(|_| starting.next().is_none())
        })
    }
}

fn load_all(source: &Source, folders: &BTreeSet<String>) -> (Vec<(Lab, Places)>, Vec<Problem>) {
    let mut problems = Vec::new();
    let labs = folders
        .iter()
        .filter_map(|folder| load::load(source, folder, &mut problems));
    (labs.collect(), problems)
}
