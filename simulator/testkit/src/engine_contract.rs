//! What every engine promises its node agent, as a list of cases that run against any of them.
//!
//! An engine's test supplies a [`Fixture`]; [`run`] makes a fresh one for each case of [`ALL`],
//! so that cases do not depend on each other. What an engine cannot do by its nature is
//! declared by its fixture and reported as skipped, by name.

mod cases;
mod pods;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::LocalBoxFuture;
use lab_engine::{ContainerConfig, Engine};

pub use cases::ALL;

/// No case takes longer, even on a busy machine; one that does hangs.
const CASE_TIMEOUT: Duration = Duration::from_secs(60);

/// Something that an engine may be unable to do by its nature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Programs really run: they have arguments, environment, files, output.
    Programs,
    /// Pods can be reached at their addresses.
    Network,
    /// A container that uses more memory than it may is killed.
    MemoryLimits,
    /// The sandboxes outlive the agent, at least as remains.
    AgentRestart,
}

/// An engine under test, with its surroundings.
#[async_trait(?Send)]
pub trait Fixture {
    /// The engine, as its agent sees it now.
    fn engine(&self) -> Arc<dyn Engine>;

    /// What this engine cannot do.
    fn lacks(&self) -> &'static [Ability];

    /// A container that runs [`crate::helper::helper_main`] with these words.
    fn container(&self, name: &str, words: &[&str]) -> ContainerConfig;

    /// An image reference under which nothing is to be found.
    fn absent_image(&self) -> String;

    /// Ends the node agent and starts it anew: [`Fixture::engine`] gives a new engine on the
    /// same state.
    async fn restart_agent(&mut self) -> anyhow::Result<()>;

    /// Another node, with one running pod, that may be killed.
    async fn doomed_node(&self) -> anyhow::Result<Box<dyn DoomedNode>>;

    /// What is left on the machine of the engine's pods: processes, directories, containers,
    /// by name. Empty where every sandbox was removed.
    async fn leftovers(&self) -> anyhow::Result<Vec<String>>;
}

/// A node that may be killed.
#[async_trait(?Send)]
pub trait DoomedNode {
    /// True while its pod runs.
    async fn pod_lives(&self) -> bool;

    /// Kills the node without warning, as a power cut does.
    async fn kill(&mut self) -> anyhow::Result<()>;
}

/// One promise.
pub struct Case {
    /// The promise, as a sentence.
    pub name: &'static str,
    /// What an engine must be able to do for this to make sense.
    pub needs: &'static [Ability],
    run: for<'a> fn(&'a mut dyn Fixture) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// How an engine did.
#[derive(Debug, Default)]
pub struct Report {
    /// Promises kept.
    pub passed: Vec<&'static str>,
    /// Promises that this engine cannot keep by its nature, with what it lacks.
    pub skipped: Vec<(&'static str, Ability)>,
    /// Promises broken, and how.
    pub failed: Vec<(&'static str, anyhow::Error)>,
}

/// Holds the engines that `make` makes to every case that is `wanted` by its name.
pub async fn run<F: Fixture>(
    make: impl AsyncFn() -> anyhow::Result<F>,
    wanted: impl Fn(&str) -> bool,
) -> Report {
    let mut report = Report::default();
    for case in ALL.iter().filter(|case| wanted(case.name)) {
        let outcome = match make().await {
            Ok(mut fixture) => match missing(case, &fixture) {
                Some(ability) => {
                    report.skipped.push((case.name, ability));
                    continue;
                }
                None => run_case(case, &mut fixture).await,
            },
            Err(error) => Err(error.context("the fixture could not be made")),
        };
        match outcome {
            Ok(()) => report.passed.push(case.name),
            Err(error) => report.failed.push((case.name, error)),
        }
    }
    report
}

fn missing(case: &Case, fixture: &impl Fixture) -> Option<Ability> {
    case.needs
        .iter()
        .find(|need| fixture.lacks().contains(need))
        .copied()
}

async fn run_case(case: &Case, fixture: &mut dyn Fixture) -> anyhow::Result<()> {
    let outcome = tokio::time::timeout(CASE_TIMEOUT, (case.run)(fixture)).await;
    outcome.map_err(|_| anyhow::anyhow!("hangs: not over after {CASE_TIMEOUT:?}"))?
}
