//! `steps`: what a job does, one after the other.

use serde_json::Value;

use super::fields::{Fields, Refused};
use super::places::{STEP, STEP_IF};
use super::{Action, Shell, Step, Variables, Work};
use crate::problem::{Place, did_you_mean};
use crate::yaml::{Kind, Node};

const KEYS: &[&str] = &[
    "id",
    "name",
    "if",
    "run",
    "shell",
    "working-directory",
    "uses",
    "with",
    "env",
    "continue-on-error",
    "timeout-minutes",
];

const REFUSED: &[Refused] = &[];

/// An action that is built in.
struct ActionDef {
    name: &'static str,
    action: Action,
    /// What `with` may hold; empty where it may hold anything.
    inputs: &'static [&'static str],
}

/// Every action. To add one, add its line here and its branch in `executor::actions`.
const ACTIONS: &[ActionDef] = &[
    ActionDef {
        name: "actions/checkout",
        action: Action::Checkout,
        inputs: &[
            "ref",
            "path",
            "fetch-depth",
            "clean",
            "fetch-tags",
            "persist-credentials",
            "token",
            "repository",
            "show-progress",
            "set-safe-directory",
            "submodules",
            "lfs",
        ],
    },
    ActionDef {
        name: "actions/upload-artifact",
        action: Action::UploadArtifact,
        inputs: &[
            "name",
            "path",
            "if-no-files-found",
            "retention-days",
            "compression-level",
            "overwrite",
            "include-hidden-files",
        ],
    },
    ActionDef {
        name: "actions/download-artifact",
        action: Action::DownloadArtifact,
        inputs: &["name", "path", "pattern", "merge-multiple"],
    },
    ActionDef {
        name: "actions/cache",
        action: Action::Idle(
            "every job finds this machine as it is, so nothing is cached or brought back",
        ),
        inputs: &[],
    },
    ActionDef {
        name: "docker/login-action",
        action: Action::Idle("the cluster's registry asks for no login"),
        inputs: &[],
    },
];

pub(super) fn steps(fields: &mut Fields<'_>, node: &Node) -> Vec<Step> {
    let Kind::Sequence(items) = &node.kind else {
        fields.refuse(
            node.at,
            format!(
                "steps must be a list, not {}: each begins with \"- \"",
                node.kind_name()
            ),
        );
        return Vec::new();
    };
    if items.is_empty() {
        fields.refuse(node.at, "steps is empty: a job needs something to do");
    }
    let mut ids: Vec<String> = Vec::new();
    let mut steps = Vec::new();
    for item in items {
        let step = step(fields, item, &mut ids);
        steps.extend(step);
    }
    steps
}

fn step(fields: &mut Fields<'_>, node: &Node, ids: &mut Vec<String>) -> Option<Step> {
    let entries = fields.mapping(node, "a step", KEYS, REFUSED);
    let of = |name: &str| entries.iter().find(|(key, _)| key.text == name);
    let value = |name: &str| of(name).map(|(_, value)| value);
    let id = value("id").and_then(|node| identifier(fields, node, ids));
    let env = value("env").map(|node| fields.variables(node, "env", &STEP));
    let step = Step {
        id,
        name: value("name").and_then(|node| fields.template(node, "name", &STEP)),
        condition: value("if").and_then(|node| fields.condition(node, &STEP_IF)),
        env: env.unwrap_or_default(),
        timeout_minutes: value("timeout-minutes")
            .and_then(|node| fields.amount(node, "timeout-minutes", &STEP)),
        continue_on_error: value("continue-on-error")
            .and_then(|node| fields.flag(node, "continue-on-error", &STEP)),
        work: match (value("run"), value("uses")) {
            (Some(_), Some(_)) => {
                fields.refuse(node.at, "a step has run or uses, not both");
                return None;
            }
            (None, None) if entries.is_empty() => return None,
            (None, None) => {
                fields.refuse(node.at, "a step needs run or uses");
                return None;
            }
            (Some(run), None) => {
                if let Some((key, _)) = of("with") {
                    fields.refuse(
                        key.at,
                        "with belongs to uses; a script gets its values by env",
                    );
                }
                script(fields, run, value("shell"), value("working-directory"))?
            }
            (None, Some(uses)) => {
                for name in ["shell", "working-directory"] {
                    if let Some((key, _)) = of(name) {
                        fields.refuse(key.at, format!("{name} belongs to run, not to uses"));
                    }
                }
                action(fields, uses, value("with"))?
            }
        },
    };
    Some(step)
}

fn identifier(fields: &mut Fields<'_>, node: &Node, ids: &mut Vec<String>) -> Option<String> {
    let id = fields.word(node, "id")?;
    if !is_identifier(&id) {
        fields.refuse(node.at, format!("{id:?} is not an id: {IDENTIFIER}"));
        return None;
    }
    if ids.iter().any(|known| known.eq_ignore_ascii_case(&id)) {
        fields.refuse(node.at, format!("two steps of this job have the id {id:?}"));
        return None;
    }
    ids.push(id.clone());
    Some(id)
}

/// What an id must be.
pub(super) const IDENTIFIER: &str =
    "it must begin with a letter or _ and go on with letters, digits, _ and -";

/// True for what jobs and steps may be called.
pub(super) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

fn script(
    fields: &mut Fields<'_>,
    run: &Node,
    shell_node: Option<&Node>,
    directory: Option<&Node>,
) -> Option<Work> {
    if run.is_null() {
        fields.refuse(run.at, "run is empty");
        return None;
    }
    Some(Work::Script {
        script: fields.template(run, "run", &STEP)?,
        shell: shell_node.and_then(|node| shell(fields, node)),
        working_directory: directory
            .and_then(|node| fields.template(node, "working-directory", &STEP)),
    })
}

/// `shell`
pub(super) fn shell(fields: &mut Fields<'_>, node: &Node) -> Option<Shell> {
    let word = fields.word(node, "shell")?;
    match word.as_str() {
        "bash" => Some(Shell::Bash),
        "sh" => Some(Shell::Sh),
        "python" => Some(Shell::Python),
        other => {
            let hint = did_you_mean(other, ["bash", "sh", "python"]);
            fields.refuse(
                node.at,
                format!("the shell {other:?} is not supported here: bash, sh and python are{hint}"),
            );
            None
        }
    }
}

fn action(fields: &mut Fields<'_>, node: &Node, with: Option<&Node>) -> Option<Work> {
    let uses = fields.word(node, "uses")?;
    let (name, version) = match uses.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (uses.as_str(), None),
    };
    let def = ACTIONS
        .iter()
        .find(|def| def.name.eq_ignore_ascii_case(name));
    let Some(def) = def else {
        fields.refuse(node.at, unknown_action(name));
        return None;
    };
    if version.is_none_or(str::is_empty) {
        fields.refuse(
            node.at,
            format!("{name} needs a version: {}@v4, for one", def.name),
        );
        return None;
    }
    let with = with
        .map(|node| inputs(fields, def, node))
        .unwrap_or_default();
    Some(Work::Action {
        action: def.action,
        with,
        uses,
    })
}

fn unknown_action(name: &str) -> String {
    if name.starts_with("./") {
        return format!(
            "{name} is an action of the repository's own, which is not supported here: write what it does as run"
        );
    }
    if name.starts_with("docker://") {
        return format!(
            "{name} runs a container, which is not supported here: steps run on this machine"
        );
    }
    let known = ACTIONS.iter().map(|def| def.name);
    let list: Vec<_> = known.clone().collect();
    let near = did_you_mean(name, known);
    format!(
        "the action {name} is not there: it would have to be downloaded from GitHub{near}; built in are {}. Write what it does as run",
        list.join(", ")
    )
}

fn inputs(fields: &mut Fields<'_>, def: &ActionDef, node: &Node) -> Variables {
    let what = format!("with of {}", def.name);
    if !def.inputs.is_empty() {
        fields.mapping(node, &what, def.inputs, &[]);
    }
    let with = fields.variables(node, "with", &STEP);
    if def.action == Action::Checkout {
        checkout_inputs(fields, node.at, &with);
    }
    with
}

/// What `actions/checkout` cannot do here, where the file says it outright.
fn checkout_inputs(fields: &mut Fields<'_>, at: Place, with: &Variables) {
    for (name, template) in with {
        let on = match template.literal() {
            None | Some(Value::Bool(false) | Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty() && text != "false",
            Some(_) => true,
        };
        if on && matches!(name.as_str(), "submodules" | "lfs") {
            fields.refuse(
                at,
                format!(
                    "{name} of actions/checkout is not supported here: it would need another server"
                ),
            );
        }
    }
}
