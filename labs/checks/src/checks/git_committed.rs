//! K015: the learner committed her work, and pushed it where that is asked for.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, CheckInput, accepts, read, schema, start};
use crate::context::CheckContext;
use crate::desk;
use crate::diagnosis::Diagnosis;
use crate::expression::shortened;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pattern::Pattern;
use crate::readers::git::{Commit, Git, Pushed, WorkTree, short};

const NAME: &str = "git-committed";
/// How many files a sentence names.
const FILES_MAX: usize = 6;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K015",
    name: NAME,
    help: "The directory `dir` is in a Git repository of the learner's and nothing below it is uncommitted (unless \
        `clean: false`). `branch` is checked out; there are at least `commits` (1 by default). A new commit has a \
        message that matches the regular expression `message`, and each path of `touches` (relative to `dir`; a \
        directory stands for all in it) was changed by one: new are the commits since the lab began, at least the \
        last one, and never the first of all where `commits` asks for more than one. With `pushed: true`, the \
        branch of that name in a repository of `{{git}}` has the commit.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    dir: String,
    branch: Option<String>,
    #[serde(default = "yes")]
    clean: bool,
    #[serde(default = "one")]
    commits: usize,
    message: Option<Pattern>,
    #[serde(default)]
    pushed: bool,
    #[serde(default)]
    touches: Vec<String>,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn accept(input: &CheckInput) -> Result<(), String> {
    accepts::<With>(input)?;
    let with: With = read(&input.with)?;
    desk::is_inside(&with.dir)?;
    with.touches
        .iter()
        .try_for_each(|path| desk::is_inside(path))
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let git = match Git::new(&context, &with.dir) {
        Ok(git) => git,
        Err(diagnosis) => {
            let evidence = evidence(&with, None);
            return Ok(Outcome::NotYet {
                evidence,
                diagnosis,
            });
        }
    };
    let tree = git.read().await?;
    let pushed = match &tree {
        Some(tree) if with.pushed => {
            let branch = with.branch.as_ref().or(tree.branch.as_ref());
            git.pushed(tree, branch.map_or("HEAD", String::as_str))
                .await?
        }
        Some(_) | None => Pushed::Yes,
    };
    let repositories = &context.addresses.git;
    Ok(judge(
        &with,
        tree.as_ref(),
        &pushed,
        repositories,
        context.desk.since,
    ))
}

fn evidence(with: &With, tree: Option<&WorkTree>) -> Evidence {
    let dash = || "–".to_owned();
    let pushed = with.pushed.then(|| "push".to_owned());
    let wanted: Vec<_> = with
        .branch
        .iter()
        .cloned()
        .chain([format!("commits ≥ {}", with.commits)])
        .chain(with.message.iter().map(|it| format!("/{}/", it.source())))
        .chain(with.touches.iter().cloned())
        .chain(pushed)
        .collect();
    Evidence {
        expected: Fact::CommitWanted {
            dir: with.dir.clone(),
            wanted: wanted.join(", "),
        },
        observed: Fact::Commit {
            dir: with.dir.clone(),
            branch: tree
                .and_then(|tree| tree.branch.clone())
                .unwrap_or_else(dash),
            commit: tree
                .and_then(|tree| tree.head.as_deref())
                .map_or_else(dash, short),
            changes: tree.map_or_else(dash, |tree| tree.changes.len().to_string()),
        },
        since: tree
            .and_then(|tree| tree.commits.first())
            .map(|commit| commit.at),
    }
}

fn judge(
    with: &With,
    tree: Option<&WorkTree>,
    pushed: &Pushed,
    repositories: &str,
    since: Option<Timestamp>,
) -> Outcome {
    let found = match tree {
        Some(tree) => find(with, tree, pushed, repositories, since),
        None => Err(Diagnosis::NotARepository {
            dir: with.dir.clone(),
        }),
    };
    Outcome::of(evidence(with, tree), found)
}

fn find(
    with: &With,
    tree: &WorkTree,
    pushed: &Pushed,
    repositories: &str,
    since: Option<Timestamp>,
) -> Result<(), Diagnosis> {
    let dir = || with.dir.clone();
    if let Some(expected) = &with.branch
        && tree.branch.as_ref() != Some(expected)
    {
        return Err(Diagnosis::GitOtherBranch {
            dir: dir(),
            expected: expected.clone(),
            found: tree.branch.clone().unwrap_or_else(|| "HEAD".to_owned()),
        });
    }
    let Some(head) = tree
        .head
        .as_ref()
        .filter(|_| tree.commits.len() >= with.commits)
    else {
        return Err(Diagnosis::GitNoCommit {
            dir: dir(),
            expected: with.commits.max(1).to_string(),
            found: tree.commits.len().to_string(),
        });
    };
    if with.clean && !tree.changes.is_empty() {
        return Err(Diagnosis::GitUncommitted {
            dir: dir(),
            files: names(&tree.changes),
        });
    }
    contents(with, &new(with, &tree.commits, since))?;
    match pushed {
        _ if !with.pushed => Ok(()),
        Pushed::Yes => Ok(()),
        Pushed::No { remote } => Err(Diagnosis::GitNotPushed {
            dir: dir(),
            branch: with
                .branch
                .as_ref()
                .or(tree.branch.as_ref())
                .cloned()
                .unwrap_or_else(|| "HEAD".to_owned()),
            commit: short(head),
            remote: remote.clone(),
        }),
        Pushed::NoRemote => {
            let remotes = tree.remotes.iter();
            let remotes: Vec<_> = remotes
                .map(|(name, url)| format!("{name} → {url}"))
                .collect();
            Err(Diagnosis::GitNoRemote {
                dir: dir(),
                expected: repositories.to_owned(),
                found: if remotes.is_empty() {
                    "–".to_owned()
                } else {
                    remotes.join(", ")
                },
            })
        }
    }
}

/// What the new commits say and change.
fn contents(with: &With, new: &[&Commit]) -> Result<(), Diagnosis> {
    let says = |pattern: &Pattern| new.iter().any(|commit| pattern.matches(&commit.message));
    if let Some(pattern) = with.message.as_ref().filter(|pattern| !says(pattern)) {
        let last = new.first().map(|commit| commit.message.as_str());
        let subject = last.and_then(|message| message.lines().next());
        return Err(Diagnosis::GitMessageDiffers {
            dir: with.dir.clone(),
            expected: format!("/{}/", pattern.source()),
            found: subject.map_or_else(|| "–".to_owned(), shortened),
        });
    }
    let files = || new.iter().flat_map(|commit| &commit.files);
    let touched = |path: &&String| {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        files().any(|file| {
            file.strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    match with.touches.iter().find(|path| !touched(path)) {
        Some(path) => {
            let mut all: Vec<_> = files().cloned().collect();
            all.sort();
            all.dedup();
            Err(Diagnosis::GitUntouched {
                dir: with.dir.clone(),
                path: path.clone(),
                touched: names(&all),
            })
        }
        None => Ok(()),
    }
}

/// The commits that are the learner's work on this lab.
fn new<'a>(with: &With, commits: &'a [Commit], since: Option<Timestamp>) -> Vec<&'a Commit> {
    // Commits have whole seconds.
    let since = since.map(Timestamp::as_second);
    let is_new = |commit: &Commit| since.is_some_and(|since| commit.at.as_second() >= since);
    let handed_out = |commit: &Commit| commit.is_root && with.commits > 1;
    commits
        .iter()
        .enumerate()
        .filter(|(place, commit)| (*place == 0 || is_new(commit)) && !handed_out(commit))
        .map(|(_, commit)| commit)
        .collect()
}

fn names(files: &[String]) -> String {
    if files.is_empty() {
        return "–".to_owned();
    }
    let mut names = files[..files.len().min(FILES_MAX)].join(", ");
    if files.len() > FILES_MAX {
        names.push_str(", …");
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::merged;
    use crate::readers::git::samples::Sample;
    use serde_json::{Value, json};

    fn commit(id: &str, at: i64, message: &str, files: &[&str]) -> Commit {
        Commit {
            id: id.to_owned(),
            at: Timestamp::from_second(at).unwrap(),
            is_root: id == "1",
            message: message.to_owned(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
        }
    }

    /// Handed out at 100, the lab began at 200, two commits of the learner's since.
    fn tree() -> WorkTree {
        WorkTree {
            branch: Some("main".to_owned()),
            head: Some("3".to_owned()),
            changes: Vec::new(),
            commits: vec![
                commit("3", 300, "fix: greet in French", &["app.js"]),
                commit("2", 250, "test: the greeting", &["test/app.test.js"]),
                commit(
                    "1",
                    100,
                    "Begin",
                    &["app.js", "Dockerfile", "test/app.test.js"],
                ),
            ],
            remotes: vec![("origin".to_owned(), "/cluster/git/hello.git".to_owned())],
        }
    }

    #[track_caller]
    fn case(
        expected: Option<&str>,
        with: Value,
        pushed: &Pushed,
        change: impl FnOnce(&mut WorkTree),
    ) {
        let mut tree = tree();
        change(&mut tree);
        let full = merged(json!({"dir": "hello"}), with);
        let with: With = serde_json::from_value(full).unwrap();
        let since = Timestamp::from_second(200).ok();
        let outcome = judge(&with, Some(&tree), pushed, "/cluster/git", since);
        let found = outcome.diagnosis().map(Diagnosis::name);
        assert_eq!(found, expected, "{outcome:?}");
    }

    #[test]
    fn committed_work_on_the_right_branch_holds() {
        case(None, json!({}), &Pushed::NoRemote, |_| {});
        let all = json!({"branch": "main", "commits": 3, "message": "^fix: ", "pushed": true,
            "touches": ["app.js", "test"]});
        case(None, all, &Pushed::Yes, |_| {});
    }

    #[test]
    fn work_that_is_not_committed_does_not_pass() {
        case(Some("git-uncommitted"), json!({}), &Pushed::Yes, |tree| {
            tree.changes.push("app.js".to_owned());
        });
        case(None, json!({"clean": false}), &Pushed::Yes, |tree| {
            tree.changes.push("app.js".to_owned());
        });
        case(Some("git-no-commit"), json!({}), &Pushed::Yes, |tree| {
            tree.head = None;
            tree.commits.clear();
        });
        case(
            Some("git-no-commit"),
            json!({"commits": 4}),
            &Pushed::Yes,
            |_| {},
        );
    }

    #[test]
    fn a_clean_tree_on_another_branch_does_not_pass() {
        let main = || json!({"branch": "main"});
        case(Some("git-other-branch"), main(), &Pushed::Yes, |tree| {
            tree.branch = Some("greeting".to_owned());
        });
        case(Some("git-other-branch"), main(), &Pushed::Yes, |tree| {
            tree.branch = None
        });
    }

    #[test]
    fn committed_but_not_pushed_does_not_pass() {
        let pushed = || json!({"pushed": true});
        let no = Pushed::No {
            remote: "origin".to_owned(),
        };
        case(Some("git-not-pushed"), pushed(), &no, |_| {});
        case(Some("git-no-remote"), pushed(), &Pushed::NoRemote, |_| {});
        case(Some("git-no-remote"), pushed(), &Pushed::NoRemote, |tree| {
            tree.remotes.clear();
        });
    }

    #[test]
    fn what_was_handed_out_is_not_the_learners_work() {
        case(
            Some("git-untouched"),
            json!({"touches": ["Dockerfile"]}),
            &Pushed::Yes,
            |_| {},
        );
        case(
            Some("git-untouched"),
            json!({"touches": ["app"]}),
            &Pushed::Yes,
            |_| {},
        );
        case(
            Some("git-message-differs"),
            json!({"message": "Begin"}),
            &Pushed::Yes,
            |_| {},
        );
        // Handed out within the lab's time, by its start.
        let begun = |tree: &mut WorkTree| tree.commits[2].at = Timestamp::from_second(201).unwrap();
        let more = json!({"commits": 3, "touches": ["Dockerfile"]});
        case(Some("git-untouched"), more, &Pushed::Yes, begun);
    }

    #[test]
    fn the_only_commit_of_a_repository_that_she_began_is_her_work() {
        let with = json!({"touches": ["app.js"], "message": "Begin"});
        case(None, with, &Pushed::Yes, |tree| {
            tree.commits.drain(..2);
        });
    }

    #[tokio::test]
    async fn real_repositories_are_judged() {
        let sample = Sample::new();
        let found = async |with: Value| {
            let with = serde_json::from_value(with).unwrap();
            let outcome = run(sample.context(), with).await.unwrap();
            outcome.diagnosis().map(|found| found.name().to_owned())
        };
        let pushed =
            json!({"dir": "hello", "branch": "main", "pushed": true, "touches": ["app.js"]});
        assert_eq!(found(pushed.clone()).await, None);
        sample.write("app.js", "2");
        assert_eq!(
            found(pushed.clone()).await.as_deref(),
            Some("git-uncommitted")
        );
        sample.commit("Change");
        assert_eq!(
            found(pushed.clone()).await.as_deref(),
            Some("git-not-pushed")
        );
        sample.push();
        assert_eq!(found(pushed).await, None);
        let nowhere = json!({"dir": "nowhere"});
        assert_eq!(found(nowhere).await.as_deref(), Some("not-a-repository"));
    }
}
