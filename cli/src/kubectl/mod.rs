//! A small kubectl for machines that have none: `devops-lab kubectl …`, or this program under the
//! name `kubectl`.
//!
//! It speaks to any cluster as kubectl does, with kubectl's kubeconfig, words and exit codes, and
//! knows the commands that labs use. What it does not know it refuses by name.
//!
//! Start reading at [`COMMANDS`]; `args` reads the words, `api` and `discovery` speak to the
//! server, `select` and `manifest` find the objects, and every command has its function.
//! <https://kubernetes.io/docs/reference/kubectl/>

mod api;
mod apply;
mod args;
mod change;
mod create;
mod delete;
mod discovery;
mod error;
mod get;
mod jsonpath;
mod logs;
mod manifest;
mod meta;
mod node;
mod print;
mod rollout;
mod select;
mod table;
mod template;
mod three_way;
mod top;
mod version;
mod wait;
mod yaml;

use std::process::ExitCode;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::output::{line, note};

use api::Api;
use args::{Args, Flag, GLOBAL};
use discovery::Discovery;
use error::{Error, Result, said};

/// Pause between two looks at something that is waited for: short, because labs wait a lot.
const POLL: Duration = Duration::from_millis(100);

/// A command line that was understood.
struct Call {
    args: Args,
}

/// A cluster and what it serves.
struct Session {
    api: Api,
    discovery: Discovery,
}

impl Session {
    async fn open(args: &Args) -> Result<Self> {
        let api = Api::open(args).await?;
        let discovery = Discovery::of(&api).await?;
        Ok(Self { api, discovery })
    }
}

/// A command: its words, its flags, and what it does.
struct CommandDef {
    name: &'static str,
    flags: &'static [&'static [Flag]],
    about: &'static str,
    run: fn(Call) -> BoxFuture<'static, Result<()>>,
}

macro_rules! command {
    ($name:literal, $about:literal, [$($flags:expr),*], $run:path) => {
        CommandDef {
            name: $name,
            flags: &[$(&$flags),*],
            about: $about,
            run: |call| Box::pin($run(call)),
        }
    };
}

/// Every command. To add one, write its function and its line here.
const COMMANDS: &[CommandDef] = &[
    command!(
        "apply",
        "Create or change what files describe",
        [apply::APPLY_FLAGS],
        apply::apply
    ),
    command!(
        "create",
        "Create what files describe, or a namespace, deployment, configmap, secret",
        [apply::CREATE_FLAGS],
        apply::create
    ),
    command!("get", "List objects, or print them", [get::FLAGS], get::get),
    command!(
        "delete",
        "Delete objects",
        [select::FLAGS, delete::FLAGS],
        delete::delete
    ),
    command!(
        "scale",
        "Set the number of replicas",
        [select::FLAGS, change::SCALE_FLAGS],
        change::scale
    ),
    command!(
        "set image",
        "Set images of containers",
        [select::FLAGS, change::SET_FLAGS],
        change::set_image
    ),
    command!(
        "set env",
        "Set environment variables of containers",
        [select::FLAGS, change::SET_FLAGS],
        change::set_env
    ),
    command!(
        "rollout status",
        "Follow a rollout to its end",
        [select::FLAGS, rollout::FLAGS],
        rollout::status
    ),
    command!(
        "rollout history",
        "List revisions",
        [select::FLAGS, rollout::FLAGS],
        rollout::history
    ),
    command!(
        "rollout undo",
        "Go back to an earlier revision",
        [select::FLAGS, rollout::FLAGS],
        rollout::undo
    ),
    command!(
        "rollout restart",
        "Replace every pod",
        [select::FLAGS, rollout::FLAGS],
        rollout::restart
    ),
    command!(
        "rollout pause",
        "Hold a rollout",
        [select::FLAGS, rollout::FLAGS],
        rollout::pause
    ),
    command!(
        "rollout resume",
        "Let a held rollout go on",
        [select::FLAGS, rollout::FLAGS],
        rollout::resume
    ),
    command!(
        "patch",
        "Change fields of an object",
        [select::FLAGS, change::PATCH_FLAGS],
        change::patch
    ),
    command!(
        "label",
        "Set and remove labels",
        [select::FLAGS, meta::FLAGS],
        meta::label
    ),
    command!(
        "annotate",
        "Set and remove annotations",
        [select::FLAGS, meta::FLAGS],
        meta::annotate
    ),
    command!(
        "wait",
        "Wait for a condition",
        [select::FLAGS, wait::FLAGS],
        wait::wait
    ),
    command!(
        "logs",
        "Print what containers wrote",
        [logs::FLAGS],
        logs::logs
    ),
    command!("top nodes", "Show what nodes use", [top::FLAGS], top::nodes),
    command!("top pods", "Show what pods use", [top::FLAGS], top::pods),
    command!(
        "cordon",
        "Let no new pods onto a node",
        [node::FLAGS],
        node::cordon
    ),
    command!(
        "uncordon",
        "Let pods onto a node again",
        [node::FLAGS],
        node::uncordon
    ),
    command!(
        "drain",
        "Move the pods of a node elsewhere",
        [node::FLAGS],
        node::drain
    ),
    command!(
        "version",
        "Print versions",
        [version::FLAGS],
        version::version
    ),
    command!(
        "config current-context",
        "Print the context in use",
        [],
        version::current_context
    ),
];

/// Other names of commands.
const ALIASES: [(&str, &str); 6] = [
    ("top node", "top nodes"),
    ("top no", "top nodes"),
    ("top pod", "top pods"),
    ("top po", "top pods"),
    ("log", "logs"),
    ("annotations", "annotate"),
];

/// Runs kubectl with these words; every error is told here.
pub(crate) async fn run(words: Vec<String>) -> ExitCode {
    let (name, outcome) = execute(words).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.report(&name);
            ExitCode::FAILURE
        }
    }
}

/// The command's name, for the pointer to its help, and what came of it.
async fn execute(words: Vec<String>) -> (String, Result<()>) {
    let mut words = words.into_iter();
    let mut args = Args::default();
    let found = find(&mut args, &mut words);
    let command = match found {
        Ok(Some(command)) => command,
        Ok(None) => {
            help();
            return (String::new(), Ok(()));
        }
        Err(error) => return (String::new(), Err(error)),
    };
    let name = command.name.to_owned();
    args.words.clear();
    let known: Vec<&[Flag]> = std::iter::once(&GLOBAL[..])
        .chain(command.flags.iter().copied())
        .collect();
    if let Err(problem) = args.read(&mut words, &known, false) {
        return (name, Err(unknown_flag(&problem, command.name)));
    }
    if args.is_set("help") {
        help_for(command);
        return (name, Ok(()));
    }
    let outcome = (command.run)(Call { args }).await;
    (name, outcome)
}

/// The command that the first words name; none where help is asked for.
fn find(
    args: &mut Args,
    words: &mut std::vec::IntoIter<String>,
) -> Result<Option<&'static CommandDef>> {
    let mut name = String::new();
    loop {
        let before = args.words.len();
        args.read(words, &[&GLOBAL], true)
            .map_err(|problem| unknown_flag(&problem, &name))?;
        let word = args.words.get(before..).and_then(<[String]>::first);
        let Some(word) = word.filter(|word| *word != "help") else {
            if name.is_empty() {
                return Ok(None);
            }
            return if args.is_set("help") {
                Ok(None)
            } else {
                Err(unknown(&name))
            };
        };
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(word);
        let full = ALIASES
            .iter()
            .find(|(alias, _)| *alias == name)
            .map_or(name.as_str(), |(_, full)| full);
        if let Some(command) = COMMANDS.iter().find(|command| command.name == full) {
            return Ok(Some(command));
        }
        let prefix = format!("{full} ");
        if !COMMANDS
            .iter()
            .any(|command| command.name.starts_with(&prefix))
        {
            return Err(unknown(&name));
        }
    }
}

/// What the built-in kubectl does not do.
fn unknown(what: &str) -> Error {
    let instead = match what {
        "describe" => {
            "kubectl get KIND NAME -o yaml shows the object, kubectl get events what happened; or "
        }
        "port-forward" | "proxy" => "devops-lab status shows where your application answers; or ",
        _ => "",
    };
    said(format!(
        "the built-in kubectl doesn't know {what:?}; {instead}install kubectl from your distribution"
    ))
}

fn unknown_flag(problem: &str, command: &str) -> Error {
    match problem.strip_prefix("unknown ") {
        Some(flag) => said(format!(
            "{problem}: the built-in kubectl {command} doesn't know this {}; install kubectl from your distribution",
            if flag.starts_with("shorthand") {
                "shorthand"
            } else {
                "flag"
            }
        )),
        None => Error::Flag(problem.to_owned()),
    }
}

/// Refuses words where a command takes none.
fn no_words(args: &Args) -> Result<()> {
    match args.words.first() {
        None => Ok(()),
        Some(_) => {
            let words = args.words.join(" ");
            Err(Error::Usage(format!("Unexpected args: [{words}]")))
        }
    }
}

/// `--timeout`, as Go writes durations.
fn timeout(args: &Args, otherwise: Duration) -> Result<Duration> {
    let Some(text) = args.value("timeout") else {
        return Ok(otherwise);
    };
    lab_api::duration::parse(text).map_err(|error| {
        Error::Flag(format!(
            "invalid argument {text:?} for \"--timeout\" flag: {error}"
        ))
    })
}

fn help() {
    line("A small kubectl inside devops-lab, with the commands that the labs use.\n");
    for CommandDef { name, about, .. } in COMMANDS {
        line(format_args!("  {name:24}{about}"));
    }
    line("\nFlags of every command: -n, --namespace; --context; --kubeconfig.");
    line("For everything else, install kubectl from your distribution.");
}

fn help_for(command: &CommandDef) {
    line(format_args!(
        "kubectl {}: {}\n",
        command.name, command.about
    ));
    let flags = command.flags.iter().copied().flatten().chain(&GLOBAL);
    for Flag { name, short, takes } in flags {
        let short = short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let value = if *takes == args::Takes::Nothing {
            ""
        } else {
            " VALUE"
        };
        line(format_args!("  {short}--{name}{value}"));
    }
    note("\nhttps://kubernetes.io/docs/reference/kubectl/");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> std::result::Result<Option<&'static str>, String> {
        let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        let found = find(&mut Args::default(), &mut words.into_iter());
        found
            .map(|command| command.map(|command| command.name))
            .map_err(|error| error.text(""))
    }

    #[test]
    fn commands_are_found_behind_flags_and_by_their_other_names() {
        assert_eq!(found(&["-n", "x", "get", "pods"]), Ok(Some("get")));
        assert_eq!(
            found(&["rollout", "-n=x", "status"]),
            Ok(Some("rollout status"))
        );
        assert_eq!(found(&["top", "pod"]), Ok(Some("top pods")));
        assert_eq!(found(&[]), Ok(None));
    }

    #[test]
    fn what_is_not_built_in_is_refused_by_name() {
        for words in [
            &["exec"][..],
            &["rollout", "frob"],
            &["describe", "pod"],
            &["set", "resources"],
        ] {
            let refused = found(words).unwrap_err();
            assert!(
                refused.contains("the built-in kubectl doesn't know"),
                "{refused}"
            );
            assert!(
                refused.contains("install kubectl from your distribution"),
                "{refused}"
            );
        }
    }
}
