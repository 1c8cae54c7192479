//! K011: a Dockerfile says what a step asks for, in the stage that counts.

use lab_image::ignore::Ignore;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, CheckInput, accepts, read, schema, start};
use crate::context::CheckContext;
use crate::desk::{self, NoText};
use crate::diagnosis::Diagnosis;
use crate::expression::shortened;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pattern::Pattern;
use crate::readers::dockerfile::{Dockerfile, is_root};

const NAME: &str = "dockerfile-written";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K011",
    name: NAME,
    help: "The Dockerfile `path` builds its last stage on `from` (an image, with or without its tag). With \
        `user: true`, that stage, or one that it is built on, ends with a USER that is not root. Each of \
        `instructions` (such as `COPY`, or `COPY app.js`) is there: in the last stage and those that it is built \
        on, RUN in any. No instruction matches one of the regular expressions `forbids`. A file `.dockerignore` \
        beside it leaves out each of `ignore` (paths, or patterns such as `*.log`). Comments count for nothing.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    path: String,
    from: Option<String>,
    #[serde(default)]
    user: bool,
    #[serde(default)]
    instructions: Vec<String>,
    #[serde(default)]
    forbids: Vec<Pattern>,
    #[serde(default)]
    ignore: Vec<String>,
}

fn accept(input: &CheckInput) -> Result<(), String> {
    accepts::<With>(input)?;
    let with: With = read(&input.with)?;
    desk::is_inside(&with.path)?;
    match with.instructions.iter().find(|text| text.trim().is_empty()) {
        Some(_) => Err("an instruction in `instructions` is empty".to_owned()),
        None => Ok(()),
    }
}

/// The two files.
struct Files {
    dockerfile: Result<String, NoText>,
    dockerignore: Result<String, NoText>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let files = context.desk.path(&with.path).map(|path| Files {
        dockerfile: desk::text(&path),
        dockerignore: dockerignore(&path),
    });
    Ok(judge(&with, files.as_ref().map_err(Clone::clone)))
}

/// The file of the Dockerfile's own comes before that of the directory.
fn dockerignore(dockerfile: &std::path::Path) -> Result<String, NoText> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    match desk::text(std::path::Path::new(&own)) {
        Err(NoText::Missing { .. }) => desk::text(&dockerfile.with_file_name(".dockerignore")),
        text => text,
    }
}

fn judge(with: &With, files: Result<&Files, Diagnosis>) -> Outcome {
    let text = files
        .as_ref()
        .ok()
        .and_then(|it| it.dockerfile.as_ref().ok());
    let file = text.map(|text| Dockerfile::parse(text));
    let from = with.from.iter().map(|from| format!("FROM {from}"));
    let user = with.user.then(|| "USER ≠ root".to_owned());
    let forbids = with.forbids.iter().map(|it| format!("¬ /{}/", it.source()));
    let ignore = with.ignore.iter().map(|it| format!("¬ {it}"));
    let wanted: Vec<_> = from
        .chain(user)
        .chain(with.instructions.iter().cloned())
        .chain(forbids)
        .chain(ignore)
        .collect();
    let observed = file.as_ref().map(|file| {
        let base = file.base().unwrap_or_else(|| "–".to_owned());
        let user = file.user().map_or_else(|| "–".to_owned(), |(_, user)| user);
        format!("FROM {base}, USER {user}")
    });
    let evidence = Evidence {
        expected: Fact::FileWanted {
            path: with.path.clone(),
            wanted: wanted.join(", "),
        },
        observed: Fact::FileSeen {
            path: with.path.clone(),
            found: observed.unwrap_or_else(|| "–".to_owned()),
        },
        since: None,
    };
    let found = files.and_then(|files| {
        let file = file.ok_or_else(|| no_file(with, &files.dockerfile))?;
        find(with, &file)?;
        left_out(with, &files.dockerignore)
    });
    Outcome::of(evidence, found)
}

fn no_file(with: &With, text: &Result<String, NoText>) -> Diagnosis {
    let path = with.path.clone();
    match text {
        Err(NoText::Unreadable(problem)) => Diagnosis::FileNotParsed {
            path,
            problem: problem.clone(),
        },
        Err(NoText::Missing { .. }) | Ok(_) => Diagnosis::DockerfileMissing { path },
    }
}

fn find(with: &With, file: &Dockerfile) -> Result<(), Diagnosis> {
    let path = || with.path.clone();
    if let Some(expected) = &with.from {
        let found = file.base();
        if !found
            .as_ref()
            .is_some_and(|found| is_image(found, expected))
        {
            return Err(Diagnosis::DockerfileOtherBase {
                path: path(),
                expected: expected.clone(),
                found: found.unwrap_or_else(|| "–".to_owned()),
            });
        }
    }
    let all = || file.stages.iter().flat_map(|stage| &stage.instructions);
    let froms = file.stages.iter().map(|stage| &stage.from);
    for instruction in all().chain(froms) {
        let text = instruction.text();
        if with.forbids.iter().any(|pattern| pattern.matches(&text)) {
            return Err(Diagnosis::DockerfileForbidden {
                path: path(),
                line: instruction.line.to_string(),
                text: shortened(&text),
            });
        }
    }
    let chain = file.chain();
    let counting = || chain.iter().flat_map(|stage| &stage.instructions);
    for wanted in &with.instructions {
        let there = if keyword(wanted) == "RUN" {
            all().any(|found| begins(&found.text(), wanted))
        } else {
            counting().any(|found| begins(&found.text(), wanted))
        };
        if !there {
            return Err(Diagnosis::DockerfileInstructionMissing {
                path: path(),
                instruction: wanted.clone(),
            });
        }
    }
    match file.user() {
        _ if !with.user => Ok(()),
        None => Err(Diagnosis::DockerfileNoUser { path: path() }),
        Some((line, user)) if is_root(&user) => Err(Diagnosis::DockerfileUserRoot {
            path: path(),
            line: line.to_string(),
            user: if user.is_empty() {
                "–".to_owned()
            } else {
                user
            },
        }),
        Some(_) => Ok(()),
    }
}

fn keyword(instruction: &str) -> String {
    let word = instruction.split_whitespace().next();
    word.unwrap_or_default().to_ascii_uppercase()
}

/// Whether an instruction begins with these words, keyword in either case.
fn begins(found: &str, wanted: &str) -> bool {
    let mut found = found.split_whitespace();
    let mut wanted = wanted.split_whitespace();
    let keyword = found.next().zip(wanted.next());
    keyword.is_some_and(|(found, wanted)| found.eq_ignore_ascii_case(wanted))
        && wanted.all(|wanted| found.next() == Some(wanted))
}

/// Whether an image is the one asked for; without a tag or digest in `expected`, any will do.
fn is_image(found: &str, expected: &str) -> bool {
    let rest = found.strip_prefix(expected);
    rest.is_some_and(|rest| {
        let tagged = expected
            .rsplit('/')
            .next()
            .is_some_and(|name| name.contains(':'));
        rest.is_empty() || rest.starts_with('@') || (!tagged && rest.starts_with(':'))
    })
}

fn left_out(with: &With, dockerignore: &Result<String, NoText>) -> Result<(), Diagnosis> {
    if with.ignore.is_empty() {
        return Ok(());
    }
    let path = match with.path.rsplit_once('/') {
        Some((dir, _)) => format!("{dir}/.dockerignore"),
        None => ".dockerignore".to_owned(),
    };
    let Ok(text) = dockerignore else {
        return Err(Diagnosis::DockerignoreMissing { path });
    };
    let rules = Ignore::parse(text);
    let kept = |pattern: &&String| !rules.excludes(&example(pattern));
    match with.ignore.iter().find(kept) {
        Some(pattern) => Err(Diagnosis::DockerignoreLacks {
            path,
            pattern: pattern.clone(),
        }),
        None => Ok(()),
    }
}

/// A path that a pattern stands for.
fn example(pattern: &str) -> String {
    let path = pattern.replace("**", "any/where").replace('*', "some");
    path.trim_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{diagnosed, merged};
    use crate::language::Language;
    use serde_json::{Value, json};

    const GOOD: &str = "FROM devops-lab/runtime:1\nCOPY app.js app.test.js /app/\nUSER 10001\n";

    fn judged(with: Value, dockerfile: Option<&str>, dockerignore: Option<&str>) -> Outcome {
        let full = merged(json!({"path": "hello/Dockerfile"}), with);
        let with: With = serde_json::from_value(full).unwrap();
        let text = |text: Option<&str>| {
            text.map(str::to_owned).ok_or(NoText::Missing {
                present: Vec::new(),
            })
        };
        judge(
            &with,
            Ok(&Files {
                dockerfile: text(dockerfile),
                dockerignore: text(dockerignore),
            }),
        )
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, dockerfile: &str) {
        let outcome = judged(with, Some(dockerfile), None);
        diagnosed(&outcome, expected);
    }

    #[test]
    fn a_dockerfile_as_it_should_be_holds() {
        let all = json!({"from": "devops-lab/runtime", "user": true, "forbids": ["^ADD "],
            "instructions": ["copy", "COPY app.js", "USER 10001"]});
        case(None, all, GOOD);
        case(None, json!({}), GOOD);
    }

    #[test]
    fn a_user_in_a_comment_or_in_another_stage_does_not_pass() {
        let user = || json!({"user": true});
        case(
            Some("dockerfile-no-user"),
            user(),
            "FROM a\n# USER 10001\nCOPY a b",
        );
        case(
            Some("dockerfile-no-user"),
            user(),
            "FROM a AS build\nUSER 10001\nFROM a\nCOPY --from=build /x /x\n",
        );
        case(
            Some("dockerfile-no-user"),
            user(),
            "FROM a\nRUN <<EOF\nUSER 1\nEOF\n",
        );
        case(
            Some("dockerfile-no-user"),
            user(),
            "FROM a\nENV USER=10001\n",
        );
        case(
            None,
            user(),
            "FROM a AS base\nUSER 10001\nFROM base\nCOPY a b\n",
        );
    }

    #[test]
    fn user_0_and_a_return_to_root_do_not_pass() {
        let user = || json!({"user": true});
        for root in [
            "USER 0",
            "USER root",
            "USER 0:0",
            "USER 1\nUSER root",
            "ARG ID=0\nUSER $ID",
            "USER $ID",
        ] {
            case(
                Some("dockerfile-user-root"),
                user(),
                &format!("FROM a\n{root}\n"),
            );
        }
    }

    #[test]
    fn the_base_is_that_of_the_last_stage() {
        let from = |image: &str| json!({"from": image});
        case(None, from("devops-lab/runtime:1"), GOOD);
        case(
            Some("dockerfile-other-base"),
            from("devops-lab/runtime:2"),
            GOOD,
        );
        case(Some("dockerfile-other-base"), from("devops-lab/run"), GOOD);
        case(
            Some("dockerfile-other-base"),
            from("golang"),
            "FROM golang:1 AS build\nFROM scratch\n",
        );
        case(Some("dockerfile-other-base"), from("x"), "# FROM x\n");
        case(None, from("localhost:5001/x"), "FROM localhost:5001/x:3\n");
        case(None, from("x:1"), "FROM x:1@sha256:abc\n");
    }

    #[test]
    fn instructions_are_looked_for_where_they_have_an_effect() {
        let with = |text: &str| json!({"instructions": [text]});
        let staged = "FROM a AS build\nRUN npm test\nENTRYPOINT [\"a\"]\nFROM b\nCOPY a b\n";
        case(None, with("RUN npm test"), staged);
        case(
            Some("dockerfile-instruction-missing"),
            with("ENTRYPOINT"),
            staged,
        );
        case(
            Some("dockerfile-instruction-missing"),
            with("COPY app"),
            GOOD,
        );
        case(
            Some("dockerfile-instruction-missing"),
            with("COPY"),
            "FROM a\n# COPY a b\n",
        );
    }

    #[test]
    fn what_is_forbidden_is_told_with_its_line() {
        let with = json!({"forbids": ["^COPY \\.env", "secret"]});
        case(None, with.clone(), GOOD);
        case(None, with.clone(), "FROM a\n# COPY .env /app\n");
        let outcome = judged(with, Some("FROM a\n\nCOPY \\\n  .env /app\n"), None);
        assert_eq!(
            outcome.diagnosis().unwrap().text(Language::En),
            "line 3 of hello/Dockerfile should not be there: COPY .env /app"
        );
    }

    #[test]
    fn a_dockerignore_leaves_out_what_it_should() {
        let found = |rules: Option<&str>| {
            let with = json!({"ignore": [".git", ".env", "*.log"]});
            let outcome = judged(with, Some(GOOD), rules);
            outcome.diagnosis().map(Diagnosis::id)
        };
        assert_eq!(found(None), Some("dockerignore-missing"));
        assert_eq!(found(Some(".git\n.env\n*.log\n")), None);
        assert_eq!(found(Some("*\n!app.js\n")), None);
        assert_eq!(found(Some(".git\n*.log\n")), Some("dockerignore-lacks"));
        assert_eq!(
            found(Some("# .env\n.git\n*.log\n")),
            Some("dockerignore-lacks")
        );
        assert_eq!(found(Some("*\n!.env\n")), Some("dockerignore-lacks"));
        assert_eq!(
            found(Some(".git\n.env\nerror.log\n")),
            Some("dockerignore-lacks")
        );
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let outcome = judged(json!({}), None, None);
        assert_eq!(
            outcome.diagnosis().map(Diagnosis::id),
            Some("dockerfile-missing")
        );
    }
}
