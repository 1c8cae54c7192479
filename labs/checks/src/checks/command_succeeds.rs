//! K013: a command that looks at something succeeds.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{CheckDef, CheckInput, read, schema, start_with};
use crate::context::{Addresses, CheckContext};
use crate::desk;
use crate::diagnosis::Diagnosis;
use crate::expression::{Scope, accepts_causes, bounded, or_cause, shortened};
use crate::fact::Fact;
use crate::lab::Cause;
use crate::outcome::{Evidence, Outcome};
use crate::pattern::Pattern;
use crate::readers::command::{Ended, Ran, run as run_command};

const NAME: &str = "command-succeeds";
/// Longest time that a lab may give a command: a learner waits for it.
const SECONDS_MAX: u64 = 60;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K013",
    name: NAME,
    help: "The command `run`, a list of the program and its arguments (no shell reads it), ends with `exit` (0 by \
        default) within `seconds` (10 by default) and prints a match of the regular expression `stdout`. It is run \
        in the learner's directory, or in `dir` of it, with the variables of `devops-lab env` for addresses. It \
        must change nothing. `causes` see `exit`, `stdout` and `stderr`. For what no other check can look at.",
    schema: schema::<With>,
    accepts: accept,
    run: |context, input| start_with(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    run: Vec<String>,
    dir: Option<String>,
    stdout: Option<Pattern>,
    #[serde(default)]
    exit: i32,
    #[serde(default = "ten")]
    seconds: u64,
}

fn ten() -> u64 {
    10
}

fn accept(input: &CheckInput) -> Result<(), String> {
    let with: With = read(&input.with)?;
    if with.run.first().is_none_or(String::is_empty) {
        return Err("`run` names no program".to_owned());
    }
    if with.seconds == 0 || with.seconds > SECONDS_MAX {
        return Err(format!("`seconds` is not between 1 and {SECONDS_MAX}"));
    }
    with.dir.as_deref().map_or(Ok(()), desk::is_inside)?;
    accepts_causes(&input.causes, &["exit", "stdout", "stderr"])
}

/// How long it takes at most, with a moment for what is around it.
pub(super) fn needs(input: &CheckInput) -> Duration {
    let seconds = read::<With>(&input.with).map_or(0, |with| with.seconds.min(SECONDS_MAX));
    Duration::from_secs(seconds + 1)
}

async fn run(context: CheckContext, with: With, input: CheckInput) -> Result<Outcome, Diagnosis> {
    let dir = context.desk.path(with.dir.as_deref().unwrap_or("."));
    let ran = match dir {
        Ok(dir) => {
            let limit = Duration::from_secs(with.seconds.min(SECONDS_MAX));
            Ok(run_command(&with.run, &dir, &variables(&context.addresses), limit).await)
        }
        Err(diagnosis) => Err(diagnosis),
    };
    bounded(NAME, move || judge(&with, ran, &input.causes)).await
}

fn variables(addresses: &Addresses) -> BTreeMap<String, String> {
    let Addresses {
        production,
        test,
        registry,
        metrics,
        git,
    } = addresses;
    [
        ("DEVOPS_LAB_PRODUCTION", production),
        ("DEVOPS_LAB_TEST", test),
        ("DEVOPS_LAB_REGISTRY", registry),
        ("DEVOPS_LAB_METRICS", metrics),
        ("DEVOPS_LAB_GIT", git),
    ]
    .map(|(name, value)| (name.to_owned(), value.clone()))
    .into()
}

fn judge(with: &With, ran: Result<Ran, Diagnosis>, causes: &[Cause]) -> Outcome {
    let command = with.run.join(" ");
    let (exit, output, scope) = match &ran {
        Ok(Ran::Ended(ended)) => (
            ended.code.to_string(),
            excerpt(&ended.stdout),
            Scope::default()
                .with("exit", json!(ended.code))
                .with("stdout", Value::String(ended.stdout.clone()))
                .with("stderr", Value::String(ended.stderr.clone())),
        ),
        Ok(Ran::Missing(_) | Ran::TooSlow) | Err(_) => {
            ("–".to_owned(), "–".to_owned(), Scope::default())
        }
    };
    let evidence = Evidence {
        expected: Fact::CommandWanted {
            command: command.clone(),
            exit: with.exit.to_string(),
            output: wanted_output(with),
        },
        observed: Fact::CommandSeen {
            command,
            exit,
            output,
        },
        since: None,
    };
    let found = find(with, ran).map_err(|found| or_cause(found, causes, &scope));
    Outcome::of(evidence, found)
}

fn find(with: &With, ran: Result<Ran, Diagnosis>) -> Result<(), Diagnosis> {
    let command = with.run.join(" ");
    let ended = match ran? {
        Ran::Ended(ended) => ended,
        Ran::Missing(_) => {
            let program = with.run.first().cloned().unwrap_or_default();
            return Err(Diagnosis::CommandMissing { command, program });
        }
        Ran::TooSlow => {
            let seconds = with.seconds.to_string();
            return Err(Diagnosis::CommandTooSlow { command, seconds });
        }
    };
    let Ended {
        code,
        stdout,
        stderr,
    } = ended;
    // A command that prints the right thing and fails has failed.
    if code != with.exit {
        return Err(Diagnosis::CommandFailed {
            command,
            expected: with.exit.to_string(),
            code: code.to_string(),
            message: excerpt(if stderr.trim().is_empty() {
                &stdout
            } else {
                &stderr
            }),
        });
    }
    match &with.stdout {
        Some(pattern) if !pattern.matches(&stdout) => Err(Diagnosis::CommandOutputDiffers {
            command,
            expected: format!("/{}/", pattern.source()),
            found: excerpt(&stdout),
        }),
        Some(_) | None => Ok(()),
    }
}

fn wanted_output(with: &With) -> String {
    let pattern = with.stdout.as_ref();
    pattern.map_or_else(
        || "…".to_owned(),
        |pattern| format!("/{}/", pattern.source()),
    )
}

/// The last line that says something, which is where programs say why they gave up.
fn excerpt(text: &str) -> String {
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    last.map_or_else(|| "–".to_owned(), shortened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Desk;
    use crate::fixtures::merged;
    use crate::language::Text;
    use std::path::Path;

    fn with(more: Value) -> With {
        let with = merged(json!({"run": ["git", "--version"]}), more);
        serde_json::from_value(with).unwrap()
    }

    fn ended(code: i32, stdout: &str, stderr: &str) -> Ran {
        Ran::Ended(Ended {
            code,
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        })
    }

    #[track_caller]
    fn case(expected: Option<&str>, more: Value, ran: Ran) {
        let outcome = judge(&with(more), Ok(ran), &[]);
        assert_eq!(outcome.diagnosis().map(Diagnosis::name), expected);
    }

    #[test]
    fn the_right_words_of_a_command_that_fails_do_not_pass() {
        let version = || json!({"stdout": "^git version 2"});
        case(None, version(), ended(0, "git version 2.47\n", ""));
        case(None, json!({}), ended(0, "", "warning: x"));
        case(None, json!({"exit": 1}), ended(1, "", "no"));
        case(
            Some("command-failed"),
            version(),
            ended(1, "git version 2.47\n", ""),
        );
        case(
            Some("command-failed"),
            version(),
            ended(137, "git version 2.47\n", ""),
        );
        case(Some("command-failed"), json!({"exit": 1}), ended(0, "", ""));
        case(
            Some("command-output-differs"),
            version(),
            ended(0, "git version 1.9\n", ""),
        );
        // What it says on standard error is not its output.
        case(
            Some("command-output-differs"),
            version(),
            ended(0, "", "git version 2.47\n"),
        );
        case(Some("command-too-slow"), version(), Ran::TooSlow);
        case(
            Some("command-missing"),
            version(),
            Ran::Missing("not found".to_owned()),
        );
    }

    #[test]
    fn causes_of_the_labs_own_look_at_what_the_command_said() {
        let cause = |id: &str, when: &str| Cause {
            id: id.to_owned(),
            when: Some(when.to_owned()),
            text: Text::default(),
            look: None,
        };
        let causes = [
            cause("two", "exit == 2"),
            cause("refused", "exit == 1 && stderr.contains('refused')"),
        ];
        let found = |ran| {
            let outcome = judge(&with(json!({})), Ok(ran), &causes);
            outcome.diagnosis().map(|found| found.name().to_owned())
        };
        assert_eq!(
            found(ended(1, "", "connection refused")).as_deref(),
            Some("refused")
        );
        assert_eq!(
            found(ended(1, "", "other")).as_deref(),
            Some("command-failed")
        );
        assert_eq!(found(Ran::TooSlow).as_deref(), Some("command-too-slow"));
    }

    #[test]
    fn faults_of_a_lab_are_found_before_it_is_run() {
        let accepts = |with: Value| {
            accept(&CheckInput {
                with,
                ..CheckInput::default()
            })
        };
        accepts(json!({"run": ["true"], "seconds": 60, "dir": "hello"})).unwrap();
        accepts(json!({"run": []})).unwrap_err();
        accepts(json!({"run": "true"})).unwrap_err();
        accepts(json!({"run": ["true"], "seconds": 61})).unwrap_err();
        accepts(json!({"run": ["true"], "stdout": "("})).unwrap_err();
        accepts(json!({"run": ["true"], "dir": "../.."})).unwrap_err();
    }

    async fn outcome(workspace: Option<&Path>, with: Value) -> Outcome {
        let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody"))
        });
        let client = kube::Client::new(nobody, "default");
        let context = CheckContext {
            desk: Desk {
                workspace: workspace.map(Path::to_owned),
                ..Desk::default()
            },
            ..CheckContext::new(client, Addresses::default())
        };
        let input = CheckInput {
            with,
            ..CheckInput::default()
        };
        (DEF.run)(context, input).await.unwrap()
    }

    #[tokio::test]
    async fn a_command_runs_in_the_learners_directory_and_no_shell_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("hello")).unwrap();
        std::fs::write(dir.path().join("hello/here"), "").unwrap();
        let list = json!({"run": ["ls"], "dir": "hello", "stdout": "^here$"});
        assert_eq!(
            outcome(Some(dir.path()), list.clone()).await.diagnosis(),
            None
        );
        let nowhere = outcome(None, list).await;
        assert_eq!(nowhere.diagnosis().map(Diagnosis::id), Some("no-workspace"));
        let words =
            json!({"run": ["echo", "$HOME; false | x"], "stdout": "^\\$HOME; false \\| x$"});
        assert_eq!(outcome(Some(dir.path()), words).await.diagnosis(), None);
        let address =
            json!({"run": ["printenv", "DEVOPS_LAB_REGISTRY"], "stdout": "^localhost:5001$"});
        assert_eq!(outcome(Some(dir.path()), address).await.diagnosis(), None);
    }
}
