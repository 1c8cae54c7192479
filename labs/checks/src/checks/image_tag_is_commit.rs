//! K010: the registry has an image that was made from the learner's commit and is named after it.

use std::collections::{BTreeMap, BTreeSet};

use lab_image::contents;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, CheckInput, accepts, read, schema, start};
use crate::context::CheckContext;
use crate::desk;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::git::{Git, Pushed, WorkTree, short};
use crate::readers::http::Http;
use crate::readers::image_content::{Found, Images};
use crate::readers::images::{ImageName, survey};

const NAME: &str = "image-tag-is-commit";
/// The label that says which commit an image was made from.
/// <https://github.com/opencontainers/image-spec/blob/main/annotations.md>
const REVISION: &str = "org.opencontainers.image.revision";
/// Shortest beginning of a commit's id that names it.
const SHORT: usize = 7;
/// How many tags a sentence names.
const TAGS_MAX: usize = 8;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K010",
    name: NAME,
    help: "The registry has an image of `repository` whose tag is the commit that is checked out in the directory \
        `dir`, in full or its first seven characters or more. Where the image has the label \
        `org.opencontainers.image.revision`, that names the commit too. `files` gives paths in the image with the \
        files of the commit, relative to `dir`, that they must be the same as: a tag alone can be moved to an image \
        of another commit. With `pushed: true`, the commit is in a repository of `{{git}}`.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    repository: String,
    dir: String,
    #[serde(default)]
    pushed: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

fn accept(input: &CheckInput) -> Result<(), String> {
    accepts::<With>(input)?;
    let with: With = read(&input.with)?;
    if with.repository.contains([':', '@']) {
        return Err("`repository` is a name without registry and tag".to_owned());
    }
    desk::is_inside(&with.dir)?;
    with.files
        .values()
        .try_for_each(|path| desk::is_inside(path))
}

/// What was read.
#[derive(Clone, Debug, Default)]
struct Seen {
    tree: Option<WorkTree>,
    /// Of the repository in the registry.
    tags: Vec<String>,
    /// The image whose tag is the commit.
    image: Option<Tagged>,
    /// None where it was not asked for.
    pushed: Option<Pushed>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Tagged {
    tag: String,
    revision: Option<String>,
    /// Files of the image that are not those of the commit.
    other_files: Vec<String>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let git = match Git::new(&context, &with.dir) {
        Ok(git) => git,
        Err(diagnosis) => {
            return Ok(Outcome::NotYet {
                evidence: evidence(&with, &Seen::default()),
                diagnosis,
            });
        }
    };
    let http = Http::new();
    let address = &context.addresses.registry;
    let (tree, registry) = tokio::join!(git.read(), survey(&http, address));
    let Some(images) = registry.images else {
        return Err(Diagnosis::RegistryNotAnswering {
            registry: address.clone(),
            problem: "/v2/_catalog".to_owned(),
        });
    };
    let tags = images.iter().filter_map(|image| image.rsplit_once(':'));
    let tags: Vec<_> = tags
        .filter(|(repository, _)| *repository == with.repository)
        .map(|(_, tag)| tag.to_owned())
        .collect();
    let mut seen = Seen {
        tree: tree?,
        tags,
        ..Seen::default()
    };
    let head = seen.tree.as_ref().and_then(|tree| tree.head.clone());
    if let (Some(tree), Some(head)) = (&seen.tree, head) {
        if let Some(tag) = seen.tags.iter().find(|tag| names(tag, &head)) {
            seen.image = tagged(&Images::new(address), &git, &with, tag).await?;
        }
        if with.pushed {
            let branch = tree.branch.as_deref().unwrap_or("HEAD");
            seen.pushed = Some(git.pushed(tree, branch).await?);
        }
    }
    Ok(judge(&with, &seen, &context.addresses.git))
}

/// Reads the image of a tag, and compares the files that the lab names.
async fn tagged(
    images: &Images,
    git: &Git,
    with: &With,
    tag: &str,
) -> Result<Option<Tagged>, Diagnosis> {
    let repository = with.repository.as_str();
    let name = ImageName { repository, tag };
    let Found::Image(image) = images.read(&format!("{repository}:{tag}"), name).await? else {
        return Ok(None);
    };
    let mut other_files = Vec::new();
    if !with.files.is_empty() {
        let paths = with.files.keys();
        let keep: BTreeSet<_> = paths
            .map(|path| path.trim_matches('/').to_owned())
            .collect();
        // The base brings no file of the learner's, and is large.
        let own = &image.manifest.layers[image.runtime_layers()..];
        let layers = images.layers(repository, own, &keep).await?;
        for (path, file) in &with.files {
            let committed = git.committed(file).await?;
            let committed = committed.as_deref().map(str::as_bytes);
            if committed.is_none() || contents::content(&layers, path) != committed {
                other_files.push(path.clone());
            }
        }
    }
    Ok(Some(Tagged {
        tag: tag.to_owned(),
        revision: image.config.config.labels.get(REVISION).cloned(),
        other_files,
    }))
}

/// Whether a tag or label is a commit's id, in full or the beginning of it.
fn names(text: &str, commit: &str) -> bool {
    text.len() >= SHORT && commit.starts_with(&text.to_ascii_lowercase())
}

fn evidence(with: &With, seen: &Seen) -> Evidence {
    let head = seen.tree.as_ref().and_then(|tree| tree.head.as_deref());
    Evidence {
        expected: Fact::ImageOfCommitWanted {
            repository: with.repository.clone(),
            commit: head.map_or_else(|| "–".to_owned(), short),
        },
        observed: Fact::ImageOfCommit {
            repository: with.repository.clone(),
            tags: tags(seen),
        },
        since: None,
    }
}

fn tags(seen: &Seen) -> String {
    if seen.tags.is_empty() {
        return "–".to_owned();
    }
    let mut tags = seen.tags[..seen.tags.len().min(TAGS_MAX)].join(", ");
    if seen.tags.len() > TAGS_MAX {
        tags.push_str(", …");
    }
    tags
}

fn judge(with: &With, seen: &Seen, repositories: &str) -> Outcome {
    Outcome::of(evidence(with, seen), find(with, seen, repositories))
}

fn find(with: &With, seen: &Seen, repositories: &str) -> Result<(), Diagnosis> {
    let dir = || with.dir.clone();
    let tree = seen.tree.as_ref();
    let tree = tree.ok_or_else(|| Diagnosis::NotARepository { dir: dir() })?;
    let Some(head) = &tree.head else {
        return Err(Diagnosis::GitNoCommit {
            dir: dir(),
            expected: "1".to_owned(),
            found: "0".to_owned(),
        });
    };
    let branch = || tree.branch.clone().unwrap_or_else(|| "HEAD".to_owned());
    match &seen.pushed {
        Some(Pushed::No { remote }) => {
            return Err(Diagnosis::GitNotPushed {
                dir: dir(),
                branch: branch(),
                commit: short(head),
                remote: remote.clone(),
            });
        }
        Some(Pushed::NoRemote) => {
            let urls: Vec<_> = tree.remotes.iter().map(|(_, url)| url.as_str()).collect();
            return Err(Diagnosis::GitNoRemote {
                dir: dir(),
                expected: repositories.to_owned(),
                found: if urls.is_empty() {
                    "–".to_owned()
                } else {
                    urls.join(", ")
                },
            });
        }
        Some(Pushed::Yes) | None => {}
    }
    let Some(image) = seen.image.as_ref().filter(|image| names(&image.tag, head)) else {
        return Err(Diagnosis::NoImageOfCommit {
            repository: with.repository.clone(),
            commit: short(head),
            tags: tags(seen),
        });
    };
    let other = |found: String| Diagnosis::ImageOfOtherCommit {
        image: format!("{}:{}", with.repository, image.tag),
        commit: short(head),
        found,
    };
    match &image.revision {
        Some(revision) if !names(revision, head) => return Err(other(revision.clone())),
        Some(_) | None => {}
    }
    match image.other_files.first() {
        Some(file) => Err(other(format!("≠ {file}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HEAD: &str = "1234567890abcdef1234567890abcdef12345678";

    fn seen() -> Seen {
        Seen {
            tree: Some(WorkTree {
                branch: Some("main".to_owned()),
                head: Some(HEAD.to_owned()),
                ..WorkTree::default()
            }),
            tags: vec!["1.0.0".to_owned(), "1234567".to_owned()],
            image: Some(Tagged {
                tag: "1234567".to_owned(),
                revision: Some(HEAD.to_owned()),
                other_files: Vec::new(),
            }),
            pushed: None,
        }
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut Seen)) {
        let mut seen = seen();
        change(&mut seen);
        let with = serde_json::from_value(json!({"repository": "hello", "dir": "hello"})).unwrap();
        let outcome = judge(&with, &seen, "/cluster/git");
        let found = outcome.diagnosis().map(Diagnosis::name);
        assert_eq!(found, expected, "{outcome:?}");
    }

    fn image(seen: &mut Seen) -> &mut Tagged {
        seen.image.as_mut().unwrap()
    }

    #[test]
    fn a_tag_is_a_commit_in_full_or_its_beginning() {
        for tag in ["1234567", "1234567890AB", HEAD] {
            assert!(names(tag, HEAD), "{tag}");
        }
        for tag in [
            "123456",
            "",
            "1234568",
            "latest",
            "1.0.0-1234567",
            "1234567-dirty",
        ] {
            assert!(!names(tag, HEAD), "{tag}");
        }
    }

    #[test]
    fn an_image_of_the_commit_that_is_checked_out_holds() {
        case(None, |_| {});
        case(None, |seen| image(seen).revision = None);
        case(None, |seen| {
            image(seen).revision = Some("12345678".to_owned())
        });
        case(None, |seen| seen.pushed = Some(Pushed::Yes));
    }

    #[test]
    fn a_tag_that_points_at_another_commit_does_not_pass() {
        // The image says so itself.
        case(Some("image-of-other-commit"), |seen| {
            image(seen).revision = Some("deadbeefdeadbeef".to_owned());
        });
        case(Some("image-of-other-commit"), |seen| {
            image(seen).revision = Some(format!("{HEAD}-dirty"));
        });
        // It says nothing, or lies, and its files are others.
        case(Some("image-of-other-commit"), |seen| {
            image(seen).other_files.push("/app/app.js".to_owned());
        });
        // The learner has committed since.
        case(Some("no-image-of-commit"), |seen| {
            seen.tree.as_mut().unwrap().head = Some("f".repeat(40));
        });
        case(Some("no-image-of-commit"), |seen| seen.image = None);
    }

    #[test]
    fn without_a_commit_or_its_push_nothing_is_named_after_it() {
        case(Some("not-a-repository"), |seen| seen.tree = None);
        case(Some("git-no-commit"), |seen| {
            seen.tree.as_mut().unwrap().head = None
        });
        case(Some("git-not-pushed"), |seen| {
            seen.pushed = Some(Pushed::No {
                remote: "origin".to_owned(),
            });
        });
        case(Some("git-no-remote"), |seen| {
            seen.pushed = Some(Pushed::NoRemote)
        });
    }

    #[test]
    fn faults_of_a_lab_are_found_before_it_is_run() {
        let accepts = |with: Value| {
            accept(&CheckInput {
                with,
                ..CheckInput::default()
            })
        };
        accepts(
            json!({"repository": "team/hello", "dir": "hello", "files": {"/app/app.js": "app.js"}}),
        )
        .unwrap();
        accepts(json!({"repository": "localhost:5001/hello", "dir": "hello"})).unwrap_err();
        accepts(json!({"repository": "hello", "dir": "/"})).unwrap_err();
        accepts(json!({"repository": "hello", "dir": "a", "files": {"/a": "../b"}})).unwrap_err();
    }
}
