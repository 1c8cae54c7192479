//! `on`: what starts a workflow.

use serde_json::Value;

use super::fields::Fields;
use super::{Input, InputKind, On, Patterns, PushFilter};
use crate::glob::Filter;
use crate::problem::{Place, did_you_mean};
use crate::yaml::{Key, Kind, Node};

const PUSH: &str = "push";
const DISPATCH: &str = "workflow_dispatch";

/// Events of GitHub that never happen here.
/// <https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows>
const OTHERS: &[&str] = &[
    "branch_protection_rule",
    "check_run",
    "check_suite",
    "create",
    "delete",
    "deployment",
    "deployment_status",
    "discussion",
    "discussion_comment",
    "fork",
    "gollum",
    "image_version",
    "issue_comment",
    "issues",
    "label",
    "merge_group",
    "milestone",
    "page_build",
    "public",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
    "registry_package",
    "release",
    "repository_dispatch",
    "schedule",
    "status",
    "watch",
    "workflow_call",
    "workflow_run",
];

/// A filter and its `-ignore` form, which may not be combined.
const FILTERS: &[(&str, &str)] = &[
    ("branches", "branches-ignore"),
    ("tags", "tags-ignore"),
    ("paths", "paths-ignore"),
];

pub(super) fn on(fields: &mut Fields<'_>, node: &Node) -> On {
    let mut on = On::default();
    match &node.kind {
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                event(fields, &mut on, &key.text, key.at, Some(value));
            }
        }
        Kind::Scalar { .. } | Kind::Sequence(_) => {
            for (at, name) in fields.words(node, "on") {
                event(fields, &mut on, &name, at, None);
            }
        }
    }
    on
}

fn event(fields: &mut Fields<'_>, on: &mut On, name: &str, at: Place, value: Option<&Node>) {
    let value = value.filter(|value| !value.is_null());
    match name {
        PUSH => on.push = Some(value.map(|value| push(fields, value)).unwrap_or_default()),
        DISPATCH => {
            let inputs = value.map(|value| dispatch(fields, value));
            on.dispatch = Some(inputs.unwrap_or_default());
        }
        other if OTHERS.contains(&other) => on.others.push(other.to_owned()),
        other => {
            let known = OTHERS.iter().copied().chain([PUSH, DISPATCH]);
            let hint = did_you_mean(other, known);
            fields.refuse(at, format!("there is no event {other:?}{hint}"));
        }
    }
}

fn push(fields: &mut Fields<'_>, node: &Node) -> PushFilter {
    let known: Vec<_> = FILTERS
        .iter()
        .flat_map(|(plain, ignore)| [*plain, *ignore])
        .collect();
    let entries = fields.mapping(node, "on.push", &known, &[]);
    let [branches, tags, paths] = [0, 1, 2].map(|at| filter(fields, entries, FILTERS[at]));
    PushFilter {
        branches,
        tags,
        paths,
    }
}

fn filter(
    fields: &mut Fields<'_>,
    entries: &[(Key, Node)],
    (plain, ignore): (&str, &str),
) -> Option<Patterns> {
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    if let (Some(_), Some((key, _))) = (of(plain), of(ignore)) {
        let hint = format!(
            "{plain} and {ignore} cannot be combined; use {plain} with patterns that begin with \"!\""
        );
        fields.refuse(key.at, hint);
        return None;
    }
    let (key, node) = of(plain).or_else(|| of(ignore))?;
    let words = fields.words(node, &format!("on.push.{}", key.text));
    let written: Vec<_> = words.iter().map(|(_, word)| word.clone()).collect();
    let patterns: Vec<_> = written.iter().map(String::as_str).collect();
    if key.text == plain && !patterns.is_empty() && patterns.iter().all(|p| p.starts_with('!')) {
        let hint =
            format!("{plain} needs a pattern without \"!\" first; to leave some out, use {ignore}");
        fields.refuse(key.at, hint);
        return None;
    }
    match Filter::parse(&patterns) {
        Ok(filter) => Some(Patterns {
            written,
            filter,
            ignore: key.text == ignore,
        }),
        Err((at, problem)) => {
            fields.refuse(words[at].0, problem);
            None
        }
    }
}

fn dispatch(fields: &mut Fields<'_>, node: &Node) -> Vec<Input> {
    let mut inputs = Vec::new();
    for (key, value) in fields.mapping(node, "on.workflow_dispatch", &["inputs"], &[]) {
        if key.text != "inputs" || value.is_null() {
            continue;
        }
        for (name, value) in fields.any_mapping(value, "inputs") {
            inputs.extend(input(fields, name, value));
        }
    }
    inputs
}

fn input(fields: &mut Fields<'_>, name: &Key, node: &Node) -> Option<Input> {
    let mut input = Input {
        name: name.text.clone(),
        kind: InputKind::String,
        required: false,
        default: None,
    };
    if node.is_null() {
        return Some(input);
    }
    let known = [
        "description",
        "required",
        "default",
        "type",
        "options",
        "deprecationMessage",
    ];
    let (mut kind, mut options) = (None, Vec::new());
    for (key, value) in fields.mapping(node, "an input", &known, &[]) {
        match key.text.as_str() {
            "required" => input.required = fields.boolean(value, "required")?,
            "default" => {
                if let Kind::Scalar { value, .. } = &value.kind {
                    input.default = Some(value.clone()).filter(|value| *value != Value::Null);
                }
            }
            "type" => kind = Some((value.at, fields.word(value, "type")?)),
            "options" => options = fields.words(value, "options"),
            _ => {}
        }
    }
    let options: Vec<_> = options.into_iter().map(|(_, word)| word).collect();
    input.kind = match kind.as_ref().map_or("string", |(_, kind)| kind.as_str()) {
        "string" | "environment" => InputKind::String,
        "boolean" => InputKind::Boolean,
        "number" => InputKind::Number,
        "choice" if options.is_empty() => {
            fields.refuse(name.at, "an input of type choice needs options");
            return None;
        }
        "choice" => InputKind::Choice(options),
        other => {
            let types = ["string", "boolean", "number", "choice", "environment"];
            let message = format!("there is no type {other:?}; there are {}", types.join(", "));
            fields.refuse(kind.as_ref().map_or(name.at, |(at, _)| *at), message);
            return None;
        }
    };
    Some(input)
}
