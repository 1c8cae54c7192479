//! What the files of a lab must agree on with each other, with other labs and with this program,
//! beyond what reading it takes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::source::Source;
use super::text;
use crate::format::{Place, Places};
use crate::lab::Lab;
use crate::problem::{Problem, nearest};

/// Names of labs and ids of their steps: what prose may refer to.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    labs: BTreeMap<String, Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) steps: BTreeSet<String>,
}

/// As much of a `lab.yaml` as is read of labs that are not looked at themselves.
#[derive(Deserialize)]
struct Brief {
    metadata: BriefMetadata,
    #[serde(default)]
    steps: Vec<BriefStep>,
}

#[derive(Deserialize)]
struct BriefMetadata {
    name: String,
}

#[derive(Deserialize)]
struct BriefStep {
    id: String,
}

impl Catalog {
    /// The labs of this program, and those beside the ones that are looked at.
    pub(super) fn of(source: &Source) -> Self {
        let mut catalog = Self::default();
        for source in [&Source::Program, source] {
            for folder in source.folders() {
                let text = source.text(&format!("{folder}/lab.yaml"));
                let brief = text.and_then(|text| serde_saphyr::from_str::<Brief>(&text).ok());
                if let Some(Brief { metadata, steps }) = brief {
                    let steps = steps.into_iter().map(|step| step.id).collect();
                    let name = metadata.name;
                    catalog.labs.insert(folder, Entry { name, steps });
                }
            }
        }
        catalog
    }

    pub(super) fn has_name(&self, name: &str) -> bool {
        self.labs.values().any(|entry| entry.name == name)
    }

    pub(super) fn folder(&self, folder: &str) -> Option<&Entry> {
        self.labs.get(folder)
    }

    /// The lab that learners reach by this name.
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        let exact = |(folder, entry): &(&String, &Entry)| entry.name == name || *folder == name;
        let exact = self.labs.iter().find(exact).map(|(_, entry)| entry);
        exact.or_else(|| {
            let mut starting = self.labs.values().filter(|it| it.name.starts_with(name));
            starting.next().filter(|_| starting.next().is_none())
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.labs.values().map(|entry| entry.name.as_str())
    }
}

/// Reports what is wrong between the labs: names that are there twice, prerequisites that are no
/// labs or come later.
pub(super) fn together(labs: &[(Lab, Places)], catalog: &Catalog, problems: &mut Vec<Problem>) {
    for (at, (lab, places)) in labs.iter().enumerate() {
        let file = format!("{}/lab.yaml", lab.folder);
        let report =
            |message: String, place: Place| Problem::of_file(&file, message).at(place.0, place.1);
        if labs[..at]
            .iter()
            .any(|(earlier, _)| earlier.name == lab.name)
        {
            let message = format!("another lab is called {:?} too", lab.name);
            problems.push(report(message, places.name));
        }
        for (name, place) in lab.prerequisites.iter().zip(&places.prerequisites) {
            if !catalog.has_name(name) {
                let near = nearest(name, catalog.names());
                let problem = report(format!("the prerequisite {name:?} is no lab"), *place);
                problems.push(match near {
                    Some(near) => problem.hint(format!("did you mean {near}?")),
                    None => problem,
                });
            } else if labs[at..].iter().any(|(later, _)| later.name == *name) {
                let problem = report(
                    format!("the prerequisite {name:?} does not come before the lab"),
                    *place,
                );
                problems.push(problem.hint("labs come in the order of their folders"));
            }
        }
    }
}

/// Reports what is wrong with one lab's application, scripts and texts.
pub(super) fn lab(
    source: &Source,
    lab: &Lab,
    places: &Places,
    catalog: &Catalog,
    problems: &mut Vec<Problem>,
) {
    app(source, lab, places, problems);
    orphans(source, lab, problems);
    text::prose(source, lab, catalog, problems);
}

fn app(source: &Source, lab: &Lab, places: &Places, problems: &mut Vec<Problem>) {
    let Some(app) = &lab.app else { return };
    let file = format!("{}/lab.yaml", lab.folder);
    let files = source.app(app);
    if files.is_empty() {
        let apps = source.apps();
        let names: Vec<_> = apps.iter().map(String::as_str).collect();
        let hint = nearest(app, names.iter().copied()).map_or_else(
            || format!("there are: {}", names.join(", ")),
            |near| format!("did you mean {near}?"),
        );
        let problem = Problem::of_file(&file, format!("there is no application {app:?}"));
        problems.push(problem.at(places.app.0, places.app.1).hint(hint));
        return;
    }
    let versions: BTreeSet<_> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("versions/")?.split('/').next())
        .collect();
    for (version, place) in lab.versions.iter().zip(&places.versions) {
        if !versions.contains(version.as_str()) {
            let there: Vec<_> = versions.iter().copied().collect();
            let message = format!("application {app:?} has no version {version:?}");
            let problem = Problem::of_file(&file, message).at(place.0, place.1);
            problems.push(problem.hint(if there.is_empty() {
                "it has none".to_owned()
            } else {
                format!("it has: {}", there.join(", "))
            }));
        }
    }
}

/// Scripts that nothing in `lab.yaml` leads to.
fn orphans(source: &Source, lab: &Lab, problems: &mut Vec<Problem>) {
    let steps: Vec<_> = lab.steps.iter().map(|step| step.id.as_str()).collect();
    let mistakes: Vec<_> = lab.mistakes.iter().map(|it| it.id.as_str()).collect();
    for (directory, ids, what) in [
        ("solution", &steps, "step"),
        ("mistakes", &mistakes, "mistake"),
    ] {
        let root = format!("{}/{directory}", lab.folder);
        for path in source.below(&root) {
            let name = path[root.len()..].trim_start_matches('/');
            if name.strip_suffix(".sh").is_some_and(|id| ids.contains(&id)) {
                continue;
            }
            let id = name.strip_suffix(".sh").unwrap_or(name);
            let hint = nearest(id, ids.iter().copied()).map_or_else(
                || "declare it there or remove the file".to_owned(),
                |near| format!("did you mean {near}.sh?"),
            );
            let message = format!("lab.yaml has no {what} {id:?} that this could belong to");
            problems.push(Problem::of_file(&path, message).hint(hint));
        }
    }
}
