//! Whether an event starts a workflow, and if not, why: a filter that does not match must not be
//! a riddle.

use super::{Input, InputKind, On, Patterns, PushFilter};
use crate::problem::did_you_mean;
use serde_json::{Map, Value};

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Push {
    /// `refs/heads/main`
    pub(crate) git_ref: String,
    /// Paths that changed; `None` where they cannot be told.
    pub(crate) changed: Option<Vec<String>>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs.
    Runs,
    /// It does not, and why.
    Not(String),
}

/// A ref's kind and short name.
pub(crate) fn short_ref(git_ref: &str) -> (&'static str, &str) {
    if let Some(name) = git_ref.strip_prefix("refs/heads/") {
        ("branch", name)
    } else if let Some(name) = git_ref.strip_prefix("refs/tags/") {
        ("tag", name)
    } else {
        ("ref", git_ref)
    }
}

/// Decides about a push.
pub(crate) fn decide(on: &On, push: &Push) -> Verdict {
    let Some(filter) = &on.push else {
        let mut events: Vec<_> = on.others.iter().map(String::as_str).collect();
        events.extend(on.dispatch.as_ref().map(|_| "workflow_dispatch"));
        return Verdict::Not(format!("it is for {}, not for push", events.join(", ")));
    };
    match refused(filter, push) {
        Some(why) => Verdict::Not(why),
        None => Verdict::Runs,
    }
}

fn refused(filter: &PushFilter, push: &Push) -> Option<String> {
    let PushFilter {
        branches,
        tags,
        paths,
    } = filter;
    let (kind, name) = short_ref(&push.git_ref);
    let (own, own_key, other, other_key) = match kind {
        "branch" => (branches, "branches", tags, "tags"),
        "tag" => (tags, "tags", branches, "branches"),
        _ => return Some(format!("{name} is neither a branch nor a tag")),
    };
    match (own, other) {
        (Some(patterns), _) => {
            if let Some(why) = unmatched(patterns, own_key, &format!("the {kind} {name}"), &[name])
            {
                return Some(why);
            }
        }
        // One that filters tags only is not meant for branches, and the other way round.
        (None, Some(_)) => {
            return Some(format!(
                "on.push names {other_key} only, and {name} is a {kind}"
            ));
        }
        (None, None) => {}
    }
    let (Some(patterns), Some(changed), "branch") = (paths, &push.changed, kind) else {
        return None;
    };
    let changed: Vec<_> = changed.iter().map(String::as_str).collect();
    let what = match changed.as_slice() {
        [one] => format!("the change of {one}"),
        many => format!("the change of {} files", many.len()),
    };
    unmatched(patterns, "paths", &what, &changed)
}

/// Why none of these is wanted.
fn unmatched(patterns: &Patterns, key: &str, what: &str, names: &[&str]) -> Option<String> {
    let Patterns {
        written,
        filter,
        ignore,
    } = patterns;
    let wanted = |name: &&str| filter.matches(name) != *ignore;
    if names.iter().any(wanted) {
        return None;
    }
    let list = written.join(", ");
    Some(match ignore {
        true => format!("{what} is left out by {key}-ignore: {list}"),
        false => format!("{what} does not match {key}: {list}"),
    })
}

/// The inputs of a run that is started by hand: those given, and the defaults of the others.
///
/// # Errors
/// Where one is unknown, missing or not what it must be.
pub(crate) fn inputs(
    declared: &[Input],
    given: &[(String, String)],
) -> Result<Map<String, Value>, String> {
    for (name, _) in given {
        if !declared.iter().any(|input| input.name == *name) {
            let hint = did_you_mean(name, declared.iter().map(|input| input.name.as_str()));
            return Err(format!("the workflow has no input {name:?}{hint}"));
        }
    }
    let mut inputs = Map::new();
    for input in declared {
        let last = given.iter().rev().find(|(name, _)| *name == input.name);
        let value = match last {
            Some((_, text)) => typed(input, text)?,
            None if input.required && input.default.is_none() => {
                return Err(format!(
                    "the input {} is required: --input {}=VALUE",
                    input.name, input.name
                ));
            }
            None => input.default.clone().unwrap_or_else(|| match &input.kind {
                InputKind::Boolean => Value::Bool(false),
                InputKind::Choice(options) => Value::String(options[0].clone()),
                InputKind::String | InputKind::Number => Value::String(String::new()),
            }),
        };
        inputs.insert(input.name.clone(), value);
    }
    Ok(inputs)
}

fn typed(input: &Input, text: &str) -> Result<Value, String> {
    let name = &input.name;
    match &input.kind {
        InputKind::String => Ok(Value::String(text.to_owned())),
        InputKind::Boolean => text
            .parse()
            .map(Value::Bool)
            .map_err(|_| format!("the input {name} must be true or false")),
        InputKind::Number => {
            let number: f64 = text
                .parse()
                .map_err(|_| format!("the input {name} must be a number"))?;
            Ok(crate::expression::value::number(number))
        }
        InputKind::Choice(options) if options.iter().any(|option| option == text) => {
            Ok(Value::String(text.to_owned()))
        }
        InputKind::Choice(options) => Err(format!(
            "the input {name} must be one of {}",
            options.join(", ")
        )),
    }
}

/// True where a commit's message asks that nothing runs.
/// <https://docs.github.com/en/actions/how-tos/manage-workflow-runs/skip-workflow-runs>
pub(crate) fn asks_to_skip(message: &str) -> bool {
    const MARKS: &[&str] = &[
        "[skip ci]",
        "[ci skip]",
        "[no ci]",
        "[skip actions]",
        "[actions skip]",
    ];
    let trailer = |line: &str| {
        let line = line.to_lowercase();
        line.strip_prefix("skip-checks:")
            .is_some_and(|value| value.trim() == "true")
    };
    MARKS.iter().any(|mark| message.contains(mark)) || message.lines().any(trailer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::parse;

    fn on(text: &str) -> On {
        let text = format!("on:\n{text}\njobs: {{a: {{runs-on: x, steps: [{{run: 'true'}}]}}}}\n");
        parse("ci.yml", &text).unwrap().on
    }

    #[track_caller]
    fn case(text: &str, git_ref: &str, changed: &[&str], not: Option<&str>) {
        let push = Push {
            git_ref: git_ref.to_owned(),
            changed: Some(changed.iter().map(|path| (*path).to_owned()).collect()),
        };
        let expected = not.map_or(Verdict::Runs, |why| Verdict::Not(why.to_owned()));
        assert_eq!(
            decide(&on(text), &push),
            expected,
            "{text} {git_ref} {changed:?}"
        );
    }

    const MAIN: &str = "refs/heads/main";
    const TAG: &str = "refs/tags/v1.2.0";

    #[test]
    fn a_push_without_filters_is_any_push() {
        for text in ["  push:", "  push: {}", "  [push, pull_request]"] {
            case(text, MAIN, &[], None);
            case(text, TAG, &[], None);
        }
    }

    #[test]
    fn branches_and_tags_are_told_apart() {
        let branches = "  push: {branches: [main, 'release/**']}";
        case(branches, MAIN, &[], None);
        case(branches, "refs/heads/release/a/b", &[], None);
        case(
            branches,
            "refs/heads/other",
            &[],
            Some("the branch other does not match branches: main, release/**"),
        );
        case(
            branches,
            TAG,
            &[],
            Some("on.push names branches only, and v1.2.0 is a tag"),
        );
        let tags = "  push: {tags: 'v1.*'}";
        case(tags, TAG, &[], None);
        case(
            tags,
            MAIN,
            &[],
            Some("on.push names tags only, and main is a branch"),
        );
        let ignore = "  push: {branches-ignore: ['wip/*'], tags-ignore: ['*']}";
        case(ignore, MAIN, &[], None);
        case(
            ignore,
            "refs/heads/wip/x",
            &[],
            Some("the branch wip/x is left out by branches-ignore: wip/*"),
        );
        case(
            ignore,
            TAG,
            &[],
            Some("the tag v1.2.0 is left out by tags-ignore: *"),
        );
    }

    #[test]
    fn one_path_that_is_wanted_suffices() {
        let paths = "  push: {paths: ['**.js', '!vendor/**']}";
        case(paths, MAIN, &["README.md", "src/a.js"], None);
        case(
            paths,
            MAIN,
            &["vendor/a.js"],
            Some("the change of vendor/a.js does not match paths: **.js, !vendor/**"),
        );
        case(paths, TAG, &["README.md"], None);
        let ignore = "  push: {paths-ignore: ['docs/**']}";
        case(ignore, MAIN, &["docs/a", "b"], None);
        case(
            ignore,
            MAIN,
            &["docs/a", "docs/b"],
            Some("the change of 2 files is left out by paths-ignore: docs/**"),
        );
    }

    #[test]
    fn other_events_start_nothing_and_that_is_said() {
        case(
            "  schedule: [{cron: '0 0 * * *'}]\n  workflow_dispatch:",
            MAIN,
            &[],
            Some("it is for schedule, workflow_dispatch, not for push"),
        );
    }

    #[test]
    fn inputs_are_checked_and_completed() {
        let text = "  workflow_dispatch:\n    inputs:\n      tag: {required: true}\n      level: {type: choice, options: [low, high]}\n      dry: {type: boolean, default: true}\n      count: {type: number}";
        let declared = on(text).dispatch.unwrap();
        let given = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect();
            inputs(&declared, &pairs).map(Value::Object)
        };
        assert_eq!(
            given(&[("tag", "v1"), ("count", "3")]).unwrap(),
            serde_json::json!({"tag": "v1", "level": "low", "dry": true, "count": 3})
        );
        assert!(given(&[]).unwrap_err().contains("tag is required"));
        assert!(
            given(&[("tga", "v1")])
                .unwrap_err()
                .contains("did you mean tag?")
        );
        assert!(
            given(&[("tag", "x"), ("level", "mid")])
                .unwrap_err()
                .contains("one of low, high")
        );
        assert!(
            given(&[("tag", "x"), ("dry", "maybe")])
                .unwrap_err()
                .contains("true or false")
        );
    }

    #[test]
    fn a_message_can_ask_to_skip() {
        for message in ["Fix [skip ci]", "[no ci] x", "Fix\n\nskip-checks: true\n"] {
            assert!(asks_to_skip(message), "{message}");
        }
        assert!(!asks_to_skip("skip ci: not like this"));
    }
}
