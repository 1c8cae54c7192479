//! Where labs come from: this program, or a directory of the author's.
//!
//! ```text
//! NN-slug/lab.yaml          structure: steps, checks, hints
//! NN-slug/en.md, fr.md      prose, one section per step
//! NN-slug/start.sh          optional: brings a cluster to where the lab begins
//! NN-slug/files/…           optional: what the learner is given beside the application
//! NN-slug/solution/STEP.sh  how a step is done
//! NN-slug/mistakes/ID.sh    how it goes wrong, with the diagnosis that it must get
//! ```

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rust_embed::RustEmbed;

use crate::format;
use crate::lab::Lab;
use crate::language::Language;
use crate::problem::{Problem, Problems, nearest};
use crate::prose::{self, END, Prose};

/// The labs of this program.
#[derive(RustEmbed)]
#[folder = "../content"]
struct Content;

/// Labs, in the order of their folders.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Labs {
    labs: Vec<Lab>,
    source: Source,
}

/// Where the files of labs are read from.
#[derive(Clone, Debug, Default, PartialEq)]
enum Source {
    #[default]
    Program,
    Directory(PathBuf),
}

impl Source {
    /// A file by its path from the labs' root.
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        match self {
            Self::Program => Some(Content::get(path)?.data.into_owned()),
            Self::Directory(root) => fs::read(root.join(path)).ok(),
        }
    }

    fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.read(path)?).ok()
    }

    /// The files below a directory, by their paths from the labs' root, sorted.
    fn below(&self, directory: &str) -> Vec<String> {
        let mut found = Vec::new();
        match self {
            Self::Program => {
                let lead = format!("{directory}/");
                let inside = Content::iter().filter(|path| path.starts_with(&lead));
                found.extend(inside.map(Cow::into_owned));
            }
            Self::Directory(root) => walk(root, directory, &mut found),
        }
        found.sort();
        found
    }
}

fn walk(root: &Path, directory: &str, found: &mut Vec<String>) {
    let entries = fs::read_dir(root.join(directory)).into_iter().flatten();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{directory}/{name}");
        if entry.path().is_dir() {
            walk(root, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// A file that a lab gives to its learner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFile {
    /// Where it belongs in the learner's directory.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

impl Labs {
    /// The labs that this program brings.
    ///
    /// # Errors
    /// All faults in them; a test sees to it that there are none.
    pub fn embedded() -> Result<Self, Problems> {
        let folders: BTreeSet<_> = Content::iter()
            .filter_map(|path| Some(path.strip_suffix("/lab.yaml")?.to_owned()))
            .collect();
        Self::read_from(Source::Program, &folders)
    }

    /// The labs of a directory: itself, where it has a `lab.yaml`, or its subdirectories.
    ///
    /// # Errors
    /// All faults in them, with file, line and column.
    pub fn from_dir(path: &Path) -> Result<Self, Problems> {
        let (root, folders) = if path.join("lab.yaml").is_file() {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (
                path.parent().unwrap_or(Path::new("")).to_owned(),
                BTreeSet::from([name]),
            )
        } else {
            (path.to_owned(), folders_of(path)?)
        };
        if folders.is_empty() {
            let problem = Problem::of_file(&path.display().to_string(), "there is no lab");
            return Err(Problems(vec![
                problem.hint("a lab is a folder with a lab.yaml"),
            ]));
        }
        Self::read_from(Source::Directory(root), &folders)
    }

    fn read_from(source: Source, folders: &BTreeSet<String>) -> Result<Self, Problems> {
        let labs = Self::read(folders, |file| source.text(file).map(Cow::Owned))?;
        Ok(Self { source, ..labs })
    }

    fn read(
        folders: &BTreeSet<String>,
        read: impl Fn(&str) -> Option<Cow<'static, str>>,
    ) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let labs: Vec<_> = folders
            .iter()
            .filter_map(|folder| load(folder, &read, &mut problems))
            .collect();
        prerequisites(&labs, &mut problems);
        if problems.is_empty() {
            Ok(Self {
                labs,
                source: Source::default(),
            })
        } else {
            Err(Problems(problems))
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

fn folders_of(path: &Path) -> Result<BTreeSet<String>, Problems> {
    let entries = fs::read_dir(path).map_err(|error| {
        Problems(vec![Problem::of_file(
            &path.display().to_string(),
            format!("cannot be read: {error}"),
        )])
    })?;
    let names = entries
        .flatten()
        .filter(|entry| entry.path().join("lab.yaml").is_file());
    Ok(names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect())
}

/// Reads one lab. `read` gives the text of a file below the labs' root.
fn load(
    folder: &str,
    read: &impl Fn(&str) -> Option<Cow<'static, str>>,
    problems: &mut Vec<Problem>,
) -> Option<Lab> {
    let name = format!("{folder}/lab.yaml");
    let Some(text) = read(&name) else {
        problems.push(Problem::of_file(&name, "cannot be read"));
        return None;
    };
    let mut lab = format::parse(&name, &text, problems)?;
    folder.clone_into(&mut lab.folder);
    for language in Language::ALL {
        let file = format!("{folder}/{language}.md");
        match read(&file) {
            Some(text) => {
                let prose = prose::parse(&file, &text, problems);
                compare(&file, &lab, &prose, problems);
                fill(&mut lab, language, prose);
            }
            None => problems.push(
                Problem::of_file(&file, "is missing").hint("a lab is told in every language"),
            ),
        }
    }
    scripts(folder, &lab, read, problems);
    Some(lab)
}

/// Whether the sections are the steps, in order.
fn compare(file: &str, lab: &Lab, prose: &Prose, problems: &mut Vec<Problem>) {
    let sections = || {
        prose
            .sections
            .iter()
            .filter(|section| !section.id.is_empty())
    };
    for step in &lab.steps {
        if !sections().any(|section| section.id == step.id) {
            let problem = Problem::of_file(file, format!("step {:?} has no section", step.id));
            problems.push(problem.hint(format!("add `## Heading {{#{}}}`", step.id)));
        }
    }
    let mut last = 0;
    for section in sections().filter(|section| section.id != END) {
        let Some(at) = lab.steps.iter().position(|step| step.id == section.id) else {
            let near = nearest(&section.id, lab.steps.iter().map(|step| step.id.as_str()));
            let problem = Problem::of_file(file, format!("lab.yaml has no step {:?}", section.id));
            let problem = problem.at(section.line, 1);
            problems.push(match near {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem,
            });
            continue;
        };
        if at < last {
            let message = format!(
                "the section of step {:?} is not in the order of lab.yaml",
                section.id
            );
            problems.push(Problem::of_file(file, message).at(section.line, 1));
        }
        last = at;
    }
}

fn fill(lab: &mut Lab, language: Language, prose: Prose) {
    let Prose { intro, sections } = prose;
    *lab.intro.get_mut(language) = intro;
    for section in sections {
        if let Some(step) = lab.steps.iter_mut().find(|step| step.id == section.id) {
            *step.heading.get_mut(language) = section.heading;
            *step.prose.get_mut(language) = section.text;
        } else if section.id == END {
            *lab.ending.get_mut(language) = format!("## {}\n\n{}", section.heading, section.text);
        }
    }
}

/// Whether every step that is checked has its solution, and every mistake its script.
fn scripts(
    folder: &str,
    lab: &Lab,
    read: &impl Fn(&str) -> Option<Cow<'static, str>>,
    problems: &mut Vec<Problem>,
) {
    let solutions = lab.steps.iter().filter(|step| !step.checks.is_empty());
    let solutions = solutions.map(|step| format!("{folder}/solution/{}.sh", step.id));
    let mistakes = lab
        .mistakes
        .iter()
        .map(|mistake| format!("{folder}/mistakes/{}.sh", mistake.id));
    for file in solutions
        .chain(mistakes)
        .filter(|file| read(file).is_none())
    {
        problems.push(Problem::of_file(&file, "is missing"));
    }
}

fn prerequisites(labs: &[Lab], problems: &mut Vec<Problem>) {
    for (at, lab) in labs.iter().enumerate() {
        let file = format!("{}/lab.yaml", lab.folder);
        if labs[..at].iter().any(|earlier| earlier.name == lab.name) {
            problems.push(Problem::of_file(
                &file,
                format!("another lab is called {:?} too", lab.name),
            ));
        }
        for name in &lab.prerequisites {
            if !labs.iter().any(|other| other.name == *name) {
                problems.push(Problem::of_file(
                    &file,
                    format!("the prerequisite {name:?} is no lab"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const YAML: &str = "apiVersion: devops-lab.dev/v1
kind: Lab
metadata:
  name: sample
title: {en: Sample, fr: Exemple}
minutes: 5
steps:
  - id: look
    checks:
      - use: nodes-ready
        with: {atLeast: 3}
    hints:
      - {en: Wait., fr: Attendez., when: nodes-not-ready}
";
    const PROSE: &str = "# T\n\nIntro.\n\n## Look {#look}\n\nLook.\n";

    fn read(changes: &[(&str, &str)]) -> Result<Labs, Problems> {
        let mut files = BTreeMap::from([
            ("01-sample/lab.yaml", YAML.to_owned()),
            ("01-sample/en.md", PROSE.to_owned()),
            ("01-sample/fr.md", PROSE.to_owned()),
            ("01-sample/solution/look.sh", String::new()),
        ]);
        for (file, text) in changes {
            files.insert(file, (*text).to_owned());
        }
        Labs::read(&BTreeSet::from(["01-sample".to_owned()]), |path| {
            files.get(path).cloned().map(Cow::Owned)
        })
    }

    #[track_caller]
    fn case(file: &str, text: &str, expected: &str) {
        let problems = read(&[(file, text)]).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}");
    }

    #[track_caller]
    fn yaml(from: &str, to: &str, expected: &str) {
        assert!(YAML.contains(from), "{from}");
        case("01-sample/lab.yaml", &YAML.replacen(from, to, 1), expected);
    }

    #[test]
    fn a_lab_is_read_with_its_prose() {
        let labs = read(&[]).unwrap();
        let lab = labs.get("sam").unwrap();
        assert_eq!(
            (lab.folder.as_str(), lab.minutes, lab.title.fr.as_str()),
            ("01-sample", 5, "Exemple")
        );
        let step = lab.step("look").unwrap();
        assert_eq!(
            (step.heading.en.as_str(), step.prose.fr.as_str()),
            ("Look", "Look.")
        );
        assert_eq!(step.hints[0].when.as_deref(), Some("nodes-not-ready"));
    }

    #[test]
    fn faults_of_the_structure_have_a_line_and_a_column() {
        yaml(
            "nodes-ready",
            "nodes-redy",
            "01-sample/lab.yaml:10:14: there is no check \"nodes-redy\"; did you mean nodes-ready?",
        );
        yaml(
            "{atLeast: 3}",
            "{atLest: 3}",
            "01-sample/lab.yaml:10:14: check \"nodes-ready\": unknown field `atLest`",
        );
        yaml(
            "nodes-not-ready",
            "nodes-not-redy",
            ":13:42: there is no diagnosis \"nodes-not-redy\"; did you mean nodes-not-ready?",
        );
        yaml(
            "id: look",
            "id: Look",
            ":8:9: a step's id \"Look\" is not made of",
        );
        yaml(
            "minutes: 5",
            "minutes: 0",
            ":6:10: a lab takes at least a minute",
        );
        yaml("minutes: 5", "minuten: 5", ":6:1: unknown field");
        yaml("minutes: 5", "minutes: soon", ":6:10: ");
        yaml(
            "kind: Lab",
            "kind: Cluster",
            ":2:7: kind is \"Cluster\" where \"Lab\" is expected",
        );
        yaml("steps:", "steps: [", "01-sample/lab.yaml:");
    }

    #[test]
    fn a_newer_format_gets_a_kind_word() {
        yaml(
            "devops-lab.dev/v1",
            "devops-lab.dev/v2\nnovelty: 1",
            ":1:13: this lab is written in format \"devops-lab.dev/v2\"; this devops-lab reads \"devops-lab.dev/v1\"; a newer lab needs a newer devops-lab",
        );
    }

    #[test]
    fn both_languages_must_tell_every_step() {
        case(
            "01-sample/fr.md",
            "# T\n",
            "01-sample/fr.md: step \"look\" has no section; add `## Heading {#look}`",
        );
        case(
            "01-sample/en.md",
            "# T\n\n## L {#loook}\n",
            "01-sample/en.md:3:1: lab.yaml has no step \"loook\"; did you mean look?",
        );
    }

    #[test]
    fn a_directory_of_labs_is_read_like_the_embedded_ones() {
        let content = Path::new(env!("CARGO_MANIFEST_DIR")).join("../content");
        let (read, embedded) = (Labs::from_dir(&content).unwrap(), Labs::embedded().unwrap());
        assert!(read.iter().eq(embedded.iter()));
        for lab in embedded.iter() {
            assert_eq!(read.given_files(lab), embedded.given_files(lab));
            let step = lab.steps.iter().find(|step| !step.checks.is_empty());
            let name = format!("solution/{}.sh", step.unwrap().id);
            assert_eq!(read.script(lab, &name), embedded.script(lab, &name));
            assert!(read.script(lab, &name).is_some(), "{name}");
        }
        assert!(
            Labs::embedded()
                .unwrap()
                .get("deploy-three-replicas")
                .is_some()
        );
        let nothing = Labs::from_dir(Path::new("/nonexistent"))
            .unwrap_err()
            .to_string();
        assert!(
            nothing.starts_with("/nonexistent: cannot be read"),
            "{nothing}"
        );
    }

    #[test]
    fn files_of_a_lab_are_given_by_their_place_in_the_learners_directory() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join("01-sample").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("lab.yaml", YAML);
        put("en.md", PROSE);
        put("fr.md", PROSE);
        put("solution/look.sh", "exit 0");
        put("files/hello/ci/pipeline.yml", "a");
        put("files/b.txt", "b");
        let labs = Labs::from_dir(root.path()).unwrap();
        let lab = labs.get("sample").unwrap();
        let given = labs.given_files(lab);
        let paths: Vec<_> = given.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["b.txt", "hello/ci/pipeline.yml"]);
        assert_eq!(given[1].content, b"a");
        assert_eq!(labs.script(lab, "solution/look.sh").unwrap(), "exit 0");
        assert_eq!(labs.script(lab, "start.sh"), None);
    }

    #[test]
    fn hints_and_prose_exist_in_both_languages() {
        for lab in Labs::embedded().unwrap().iter() {
            for language in Language::ALL {
                assert!(
                    !lab.intro.get(language).is_empty() && !lab.ending.get(language).is_empty(),
                    "{}",
                    lab.name
                );
                for step in &lab.steps {
                    assert!(
                        !step.prose.get(language).is_empty(),
                        "{} {language}",
                        step.id
                    );
                    assert!(
                        step.hints
                            .iter()
                            .all(|hint| !hint.text.get(language).is_empty()),
                        "{}",
                        step.id
                    );
                }
            }
        }
    }
}
