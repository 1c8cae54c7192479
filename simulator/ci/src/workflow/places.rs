//! Which contexts and functions an expression may use where.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/contexts#context-availability>

use crate::expression::{Expression, Function, SyntaxError};
use crate::problem::did_you_mean;

/// What an expression sees at a place.
pub(super) struct Allowed {
    /// The place, as it is said.
    pub(super) place: &'static str,
    /// Contexts.
    pub(super) contexts: &'static [&'static str],
    /// `success()` and its kin.
    pub(super) status: bool,
    /// `hashFiles`
    pub(super) files: bool,
}

const fn allowed(place: &'static str, contexts: &'static [&'static str]) -> Allowed {
    Allowed {
        place,
        contexts,
        status: false,
        files: false,
    }
}

/// Every context there is.
const ALL: &[&str] = &[
    "github", "env", "vars", "secrets", "job", "jobs", "steps", "needs", "matrix", "strategy",
    "runner", "inputs",
];

pub(super) const RUN_NAME: Allowed = allowed("run-name", &["github", "inputs", "vars"]);
pub(super) const CONCURRENCY: Allowed = allowed("concurrency", &["github", "inputs", "vars"]);
pub(super) const WORKFLOW_ENV: Allowed = allowed(
    "the workflow's env",
    &["github", "secrets", "inputs", "vars"],
);
pub(super) const STRATEGY: Allowed = allowed("strategy", &["github", "needs", "vars", "inputs"]);
pub(super) const JOB: Allowed = allowed(
    "a key of a job",
    &["github", "needs", "strategy", "matrix", "vars", "inputs"],
);
pub(super) const JOB_ENV: Allowed = allowed(
    "a job's env",
    &[
        "github", "needs", "strategy", "matrix", "vars", "secrets", "inputs",
    ],
);
pub(super) const JOB_DEFAULTS: Allowed = allowed(
    "a job's defaults",
    &[
        "github", "needs", "strategy", "matrix", "env", "vars", "inputs",
    ],
);
pub(super) const JOB_OUTPUTS: Allowed = allowed(
    "a job's outputs",
    &[
        "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "secrets",
        "steps", "inputs",
    ],
);
pub(super) const JOB_IF: Allowed = Allowed {
    status: true,
    ..allowed("a job's if", &["github", "needs", "vars", "inputs"])
};
pub(super) const STEP: Allowed = Allowed {
    files: true,
    ..allowed(
        "a step",
        &[
            "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "secrets",
            "steps", "inputs",
        ],
    )
};
pub(super) const STEP_IF: Allowed = Allowed {
    status: true,
    files: true,
    ..allowed(
        "a step's if",
        &[
            "github", "needs", "strategy", "matrix", "job", "runner", "env", "vars", "steps",
            "inputs",
        ],
    )
};

/// What an expression names that is not there at this place.
pub(super) fn allowed_problem(expression: &Expression, place: &Allowed) -> Option<SyntaxError> {
    let mut problem = None;
    expression.visit(&mut |part| {
        let found = match part {
            Expression::Context { name, offset } => {
                context_problem(name, place).map(|message| (*offset, message))
            }
            Expression::Call {
                function, offset, ..
            } => function_problem(*function, place).map(|message| (*offset, message)),
            Expression::Literal(_)
            | Expression::Index(..)
            | Expression::Each(_)
            | Expression::Not(_)
            | Expression::Binary(..) => None,
        };
        if let (None, Some((offset, message))) = (&problem, found) {
            problem = Some(SyntaxError { offset, message });
        }
    });
    problem
}

fn context_problem(name: &str, place: &Allowed) -> Option<String> {
    let is = |known: &&&str| known.eq_ignore_ascii_case(name);
    if place.contexts.iter().any(|known| is(&known)) {
        return None;
    }
    let Allowed {
        place, contexts, ..
    } = place;
    if ALL.iter().any(|known| is(&known)) {
        let hint = match name {
            "secrets" => "; hand it to env, and compare that",
            _ => "",
        };
        return Some(format!(
            "{name} cannot be used in {place}, which sees {}{hint}",
            contexts.join(", ")
        ));
    }
    let near = did_you_mean(name, ALL.iter().copied());
    let hint = if near.is_empty() {
        "; text is written in single quotes: 'so'".to_owned()
    } else {
        near
    };
    Some(format!("there is no context {name}{hint}"))
}

fn function_problem(function: Function, place: &Allowed) -> Option<String> {
    let name = function.name();
    if function.is_status() && !place.status {
        return Some(format!("{name}() can be used in if only"));
    }
    if function == Function::HashFiles && !place.files {
        return Some(format!("{name}() can be used in steps only"));
    }
    None
}
