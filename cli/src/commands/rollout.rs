//! `devops-lab rollout`: look at progressive rollouts and steer them.
//!
//! `view` makes a picture's content out of objects and `tree` draws it; `patches` decides what a
//! command writes; `watch` follows the objects. This file asks the API and prints.

mod patches;
mod tree;
mod view;
mod watch;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use lab_cluster::lifecycle;
use serde_json::Value;

use crate::cli::rollout::{
    RolloutArgs, RolloutCommand, RolloutGetArgs, RolloutHistoryArgs, RolloutListArgs,
    RolloutPromoteArgs, RolloutSetCommand, RolloutSetImageArgs, RolloutStatusArgs, RolloutTarget,
    RolloutUndoArgs,
};
use crate::cli::{ClusterArgs, Format, OutputArgs};
use crate::output::{json, line, table};

use patches::{Change, Promotion};
use view::{Objects, View};

/// Tries of a write that others come in between, as the plugin's.
const TRIES: usize = 5;
/// Kinds of a picture, by group, version, kind and plural; the Rollout itself is the first.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("", "v1", "Pod", "pods"),
    ("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns"),
    ("batch", "v1", "Job", "jobs"),
];

pub(crate) async fn run(command: RolloutCommand) -> anyhow::Result<ExitCode> {
    match command {
        RolloutCommand::Get(args) => get(args).await,
        RolloutCommand::List(args) => list(args).await,
        RolloutCommand::Status(args) => status(args).await,
        RolloutCommand::Promote(args) => promote(args).await,
        RolloutCommand::Abort(args) => change(args, &patches::abort(), "aborted").await,
        RolloutCommand::Retry(args) => change(args, &patches::retry(), "retried").await,
        RolloutCommand::Pause(args) => change(args, &patches::pause(), "paused").await,
        RolloutCommand::Restart(args) => restart(args).await,
        RolloutCommand::Undo(args) => undo(args).await,
        RolloutCommand::Set(RolloutSetCommand::Image(args)) => set_image(args).await,
        RolloutCommand::History(args) => history(args).await,
    }
}

/// The objects of one namespace.
#[derive(Clone)]
struct Namespace {
    client: Client,
    name: String,
}

impl Namespace {
    fn open(target: RolloutTarget) -> anyhow::Result<Self> {
        let RolloutTarget {
            cluster: ClusterArgs { name },
            namespace,
        } = target;
        let (_, record) = super::open(&name)?;
        Ok(Self {
            client: lifecycle::client(&record)?,
            name: namespace,
        })
    }

    /// The objects of the kind at this place of [`KINDS`].
    fn api(&self, kind: usize) -> Api<DynamicObject> {
        let (group, version, kind, plural) = KINDS[kind];
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
        Api::namespaced_with(self.client.clone(), &self.name, &resource)
    }

    fn rollouts(&self) -> Api<DynamicObject> {
        self.api(0)
    }

    async fn rollout(&self, name: &str) -> anyhow::Result<Value> {
        let found = self.rollouts().get_opt(name).await;
        let found = found.with_context(|| format!("failed to read rollout {name:?}"))?;
        match found {
            Some(rollout) => Ok(serde_json::to_value(rollout)?),
            None => Err(self.missing(name).await),
        }
    }

    /// There is no such Rollout: which ones there are.
    async fn missing(&self, name: &str) -> anyhow::Error {
        let all = self.rollouts().list(&ListParams::default()).await;
        let names: Vec<String> = all
            .into_iter()
            .flat_map(|all| all.items)
            .filter_map(|rollout| rollout.metadata.name)
            .collect();
        let hint = match names.as_slice() {
            [] => "there are none; is it another one? (use --namespace)".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        anyhow::anyhow!("no rollout {name:?} in namespace {:?}; {hint}", self.name)
    }

    async fn list(&self, kind: usize) -> anyhow::Result<Vec<Value>> {
        let (_, _, name, _) = KINDS[kind];
        let listed = self.api(kind).list(&ListParams::default()).await;
        let listed = match listed {
            Ok(listed) => listed.items,
            // A cluster may not serve a kind that only adds to the picture.
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list kind {name}"));
            }
        };
        listed
            .into_iter()
            .map(|object| Ok(serde_json::to_value(object)?))
            .collect()
    }

    async fn objects(&self, name: &str) -> anyhow::Result<Objects> {
        Ok(Objects {
            rollout: self.rollout(name).await?,
            replica_sets: self.list(1).await?,
            pods: self.list(2).await?,
            analysis_runs: self.list(3).await?,
            jobs: self.list(4).await?,
        })
    }

    /// Merges a change into a Rollout; where a server has no `/status`, into the object itself.
    async fn apply(&self, name: &str, change: &Change) -> anyhow::Result<()> {
        let (api, params) = (self.rollouts(), PatchParams::default());
        let patch = Patch::Merge(&change.body);
        let written = if change.status {
            match api.patch_status(name, &params, &patch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    api.patch(name, &params, &patch).await
                }
                written => written,
            }
        } else {
            api.patch(name, &params, &patch).await
        };
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(self.missing(name).await),
            Err(error) => Err(error).with_context(|| format!("failed to change rollout {name:?}")),
        }
    }
}

async fn get(args: RolloutGetArgs) -> anyhow::Result<ExitCode> {
    let RolloutGetArgs {
        rollout: RolloutArgs { rollout, target },
        watch,
        output: OutputArgs { output },
    } = args;
    let namespace = Namespace::open(target)?;
    if watch {
        // A name that is not there is a mistake, not something to wait for.
        namespace.rollout(&rollout).await?;
        return watch::watch(&namespace, &rollout, output).await;
    }
    let view = view::view(&namespace.objects(&rollout).await?);
    match output {
        Format::Json => json(&view)?,
        Format::Text => print(&view),
    }
    Ok(ExitCode::SUCCESS)
}

/// The picture as lines, as wide as the terminal.
fn picture(view: &View, now: Timestamp) -> Vec<String> {
    let term = console::Term::stdout();
    let width = term.is_term().then(|| usize::from(term.size().1));
    let mut lines = tree::head(view);
    lines.push(String::new());
    lines.extend(tree::lines(&tree::rows(view, now), width));
    lines
}

fn print(view: &View) {
    for text in picture(view, Timestamp::now()) {
        line(text);
    }
}

async fn list(args: RolloutListArgs) -> anyhow::Result<ExitCode> {
    let RolloutListArgs {
        target,
        output: OutputArgs { output },
    } = args;
    let namespace = Namespace::open(target)?;
    let mut views = Vec::new();
    for rollout in namespace.list(0).await? {
        let objects = Objects {
            rollout,
            ..Objects::default()
        };
        views.push(view::view(&objects));
    }
    if output == Format::Json {
        json(&views)?;
        return Ok(ExitCode::SUCCESS);
    }
    if views.is_empty() {
        line(format_args!(
            "no rollouts in namespace {:?}; the recipes in fixtures/rollouts/ are good to begin with",
            namespace.name
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let dash = || "-".to_owned();
    let rows: Vec<_> = views
        .iter()
        .map(|view| {
            let replicas = view.replicas;
            vec![
                view.name.clone(),
                view.strategy.to_owned(),
                tree::paint(&view.status),
                view.step.clone().unwrap_or_else(dash),
                view.set_weight
                    .map_or_else(dash, |weight| weight.to_string()),
                format!("{}/{}", replicas.ready, replicas.desired),
                replicas.updated.to_string(),
                replicas.available.to_string(),
            ]
        })
        .collect();
    table(
        &[
            "NAME",
            "STRATEGY",
            "STATUS",
            "STEP",
            "SET-WEIGHT",
            "READY",
            "UP-TO-DATE",
            "AVAILABLE",
        ],
        &rows,
    );
    Ok(ExitCode::SUCCESS)
}

async fn status(args: RolloutStatusArgs) -> anyhow::Result<ExitCode> {
    let RolloutStatusArgs {
        rollout: RolloutArgs { rollout, target },
        timeout,
        no_wait,
    } = args;
    let namespace = Namespace::open(target)?;
    let present = namespace.rollout(&rollout).await?;
    if no_wait {
        let (phase, message) = view::phase(&present);
        line(told(&phase, message.as_deref()));
        return ended(&phase, message);
    }
    let wait = watch::until_done(&namespace, &rollout, |phase, message| {
        line(told(phase, message));
    });
    let (phase, message) = match timeout {
        None => wait.await?,
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), wait).await {
            Ok(done) => done?,
            Err(_) => bail!(
                "rollout {rollout:?} is not done after {seconds} s; look at it: devops-lab rollout get {rollout}"
            ),
        },
    };
    ended(&phase, message)
}

/// What scripts learn of a phase: only a healthy rollout is a success.
fn ended(phase: &str, message: Option<String>) -> anyhow::Result<ExitCode> {
    let why = message.map_or_else(String::new, |message| format!(": {message}"));
    match phase {
        "Healthy" => Ok(ExitCode::SUCCESS),
        "Degraded" => bail!("the rollout is degraded{why}"),
        phase => bail!("the rollout is not healthy yet, but {phase}{why}"),
    }
}

fn told(phase: &str, message: Option<&str>) -> String {
    match message {
        Some(message) => format!("{phase} - {message}"),
        None => phase.to_owned(),
    }
}

async fn promote(args: RolloutPromoteArgs) -> anyhow::Result<ExitCode> {
    let RolloutPromoteArgs {
        rollout: RolloutArgs { rollout, target },
        full,
        skip_current_step,
    } = args;
    let namespace = Namespace::open(target)?;
    let promotion = match (full, skip_current_step) {
        (true, _) => Promotion::Full,
        (false, true) => Promotion::SkipStep,
        (false, false) => Promotion::Next,
    };
    let present = namespace.rollout(&rollout).await?;
    for change in patches::promote(&present, promotion)? {
        namespace.apply(&rollout, &change).await?;
    }
    let fully = if full { "fully " } else { "" };
    line(format_args!("rollout '{rollout}' {fully}promoted"));
    Ok(ExitCode::SUCCESS)
}

async fn change(args: RolloutArgs, change: &Change, done: &str) -> anyhow::Result<ExitCode> {
    let RolloutArgs { rollout, target } = args;
    let namespace = Namespace::open(target)?;
    namespace.apply(&rollout, change).await?;
    line(format_args!("rollout '{rollout}' {done}"));
    Ok(ExitCode::SUCCESS)
}

async fn restart(args: RolloutArgs) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    change(args, &patches::restart(&now), "restarts in 0s").await
}

async fn undo(args: RolloutUndoArgs) -> anyhow::Result<ExitCode> {
    let RolloutUndoArgs {
        rollout: RolloutArgs { rollout, target },
        to_revision,
    } = args;
    let namespace = Namespace::open(target)?;
    let present = namespace.rollout(&rollout).await?;
    let sets = namespace.list(1).await?;
    let Some(patch) = patches::undo(&present, &sets, to_revision)? else {
        line(format_args!(
            "skipped rollback (current template already matches revision {to_revision})"
        ));
        return Ok(ExitCode::SUCCESS);
    };
    let patch = Patch::Json::<()>(serde_json::from_value(patch)?);
    namespace
        .rollouts()
        .patch(&rollout, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("failed to change rollout {rollout:?}"))?;
    line(format_args!("rollout '{rollout}' undo"));
    Ok(ExitCode::SUCCESS)
}

async fn set_image(args: RolloutSetImageArgs) -> anyhow::Result<ExitCode> {
    let RolloutSetImageArgs {
        rollout,
        images,
        target,
    } = args;
    let namespace = Namespace::open(target)?;
    for last in (0..TRIES).rev() {
        let mut changed = namespace.rollout(&rollout).await?;
        patches::set_images(&mut changed, &images)?;
        let changed: DynamicObject = serde_json::from_value(changed)?;
        let written = namespace
            .rollouts()
            .replace(&rollout, &PostParams::default(), &changed)
            .await;
        match written {
            Err(kube::Error::Api(status)) if status.code == 409 && last > 0 => {}
            written => {
                written.with_context(|| format!("failed to change rollout {rollout:?}"))?;
                line(format_args!("rollout '{rollout}' image updated"));
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    unreachable!("the last try returns")
}

async fn history(args: RolloutHistoryArgs) -> anyhow::Result<ExitCode> {
    let RolloutHistoryArgs {
        rollout: RolloutArgs { rollout, target },
        output: OutputArgs { output },
    } = args;
    let namespace = Namespace::open(target)?;
    let view = view::view(&namespace.objects(&rollout).await?);
    if output == Format::Json {
        json(&view.revisions)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let rows: Vec<_> = view
        .revisions
        .iter()
        .rev()
        .flat_map(|revision| revision.replica_sets.iter().map(move |set| (revision, set)))
        .map(|(revision, set)| {
            vec![
                revision.revision.to_string(),
                set.images.join(","),
                tree::age(set.created_at, now),
                set.tags.join(","),
            ]
        })
        .collect();
    table(&["REVISION", "IMAGES", "AGE", "INFO"], &rows);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_healthy_rollout_is_a_success() {
        assert!(ended("Healthy", None).is_ok());
        for (phase, message, expected) in [
            (
                "Degraded",
                Some("RolloutAborted"),
                "the rollout is degraded: RolloutAborted",
            ),
            (
                "Paused",
                Some("CanaryPauseStep"),
                "the rollout is not healthy yet, but Paused: CanaryPauseStep",
            ),
            (
                "Progressing",
                None,
                "the rollout is not healthy yet, but Progressing",
            ),
        ] {
            let error = ended(phase, message.map(str::to_owned)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
