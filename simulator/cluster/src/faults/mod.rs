//! Faults on purpose: what `devops-lab fault` lists, injects and heals.
//!
//! A fault is one file here and one line in [`ALL`]. What a component has to play it finds as an
//! annotation on an object of the API ([`lab_api::faults`] has the list), so that the API guards
//! it and a restart keeps it; what concerns a part's process goes through the
//! [`Provider`](crate::provider::Provider), and the registry has an endpoint of its own
//! (`roles::registry`). Everything that was injected is written down in `faults.json` of the
//! cluster's directory, with what is needed to undo it, before a command reports it.
//!
//! Start reading at [`FaultDef`] and [`inject`], then `node_kill` for the shape of one fault,
//! and [`watch`] for how a recovery is observed.

mod certificate_expire;
mod dns_break;
mod gateway;
mod image_pull_corrupt;
mod ledger;
mod node_annotations;
mod node_drain;
mod node_kill;
mod pods;
mod random;
mod stage;
pub mod watch;

use anyhow::{Context as _, bail};
use futures::future::BoxFuture;
use serde_json::Value;

pub use ledger::{Injection, Ledger};
pub use random::choose;
pub use stage::Stage;

use crate::config::EngineKind;

/// Every fault, in the order in which it is listed.
pub const ALL: &[FaultDef] = &[
    node_kill::DEF,
    node_drain::DEF,
    node_annotations::PARTITION,
    node_annotations::SLOW,
    pods::KILL,
    pods::MEMORY,
    dns_break::DEF,
    gateway::DELAY,
    gateway::ABORT,
    certificate_expire::DEF,
    image_pull_corrupt::DEF,
];

/// Engines on which something runs.
const REAL: &[EngineKind] = &[EngineKind::Docker, EngineKind::Process];
/// Every engine.
const ANY: &[EngineKind] = &[
    EngineKind::Docker,
    EngineKind::Process,
    EngineKind::Simulated,
];

/// What a fault is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A node, such as `node-2`; by default one at random that has pods.
    Node,
    /// A pod, `NAME` or `NAMESPACE/NAME`; by default one at random that runs.
    Pod,
    /// An HTTPRoute, GRPCRoute or Ingress: `NAME` or `NAMESPACE/NAME`, behind `grpcroute/` or such
    /// where the name does not tell which; by default one at random.
    Route,
    /// A name in DNS; by default every name.
    Name,
    /// A Secret of type `kubernetes.io/tls`; by default one that a listener uses.
    Secret,
    /// An image in the cluster's registry, `NAME:TAG`; by default one at random.
    Image,
}

/// A fault that can be injected.
pub struct FaultDef {
    /// As it is typed.
    pub name: &'static str,
    /// One line for the list.
    pub help: &'static str,
    /// What happens then, as a student sees it.
    pub expect: &'static str,
    /// How it is healed, if it does not heal by itself.
    pub healed_by: &'static str,
    /// What it is done to.
    pub target: Target,
    /// Where it has meaning.
    pub engines: &'static [EngineKind],
    /// Options it takes, of those of [`Request`].
    pub options: &'static [&'static str],
    /// True where the cluster heals it by itself, so that nothing stays to be undone.
    pub passing: bool,
    inject: Inject,
    heal: Heal,
}

type Inject = for<'a> fn(&'a Stage, &'a Request) -> BoxFuture<'a, anyhow::Result<Injected>>;
type Heal = for<'a> fn(&'a Stage, &'a Injection) -> BoxFuture<'a, anyhow::Result<String>>;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What to do it to.
    pub target: Option<String>,
    /// Share of requests, or of time: `20%`.
    pub share: Option<String>,
    /// How long requests wait: `500ms`, `2s`.
    pub delay: Option<String>,
    /// HTTP status of failed requests.
    pub status: Option<u16>,
    /// How DNS fails: `servfail`, `nxdomain` or `timeout`.
    pub mode: Option<String>,
}

/// What was done.
pub struct Injected {
    /// To what.
    pub target: String,
    /// In words.
    pub did: String,
    /// What healing needs to know.
    pub undo: Value,
}

impl FaultDef {
    /// The fault of this name.
    ///
    /// # Errors
    /// Naming those there are.
    pub fn named(name: &str) -> anyhow::Result<&'static Self> {
        let found = ALL.iter().find(|def| def.name == name);
        found.with_context(|| {
            let names: Vec<_> = ALL.iter().map(|def| def.name).collect();
            format!(
                "there is no fault {name:?}; there are {} (devops-lab fault list)",
                names.join(", ")
            )
        })
    }

    /// Whether it has meaning on an engine.
    #[must_use]
    pub fn runs_on(&self, engine: EngineKind) -> bool {
        self.engines.contains(&engine)
    }
}

impl Request {
    /// The options that were given, by name.
    fn given(&self) -> Vec<&'static str> {
        let table = [
            ("share", self.share.is_some()),
            ("delay", self.delay.is_some()),
            ("status", self.status.is_some()),
            ("mode", self.mode.is_some()),
        ];
        let given = table.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }
}

/// Injects a fault and writes it down; `hidden` keeps it from being named until it is revealed.
///
/// # Errors
/// Where the fault has no meaning here, an option or target makes no sense, or it cannot be done.
pub async fn inject(
    stage: &Stage,
    def: &'static FaultDef,
    request: &Request,
    hidden: bool,
) -> anyhow::Result<Injection> {
    let engine = stage.record.engine;
    if !def.runs_on(engine) {
        bail!(
            "{} has no meaning on the {} engine",
            def.name,
            engine.as_str()
        );
    }
    if let Some(option) = request
        .given()
        .into_iter()
        .find(|option| !def.options.contains(option))
    {
        bail!("{} takes no --{option}", def.name);
    }
    let ledger = Ledger::of(&stage.dir);
    let Injected { target, did, undo } = (def.inject)(stage, request).await?;
    ledger.add(Injection {
        id: 0,
        fault: def.name.to_owned(),
        target,
        did,
        heal: def.healed_by.to_owned(),
        at: stage.context.now(),
        hidden,
        passing: def.passing,
        undo,
    })
}

/// Heals an injection and strikes it out; answers what was done.
///
/// # Errors
/// Where it cannot be undone; it then stays written down.
pub async fn heal(stage: &Stage, injection: &Injection) -> anyhow::Result<String> {
    let def = FaultDef::named(&injection.fault)?;
    let did = (def.heal)(stage, injection)
        .await
        .with_context(|| format!("{} of {} is not healed", def.name, injection.target))?;
    Ledger::of(&stage.dir).strike(injection.id)?;
    Ok(did)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_says_what_it_does_and_how_it_ends() {
        let mut names: Vec<_> = ALL.iter().map(|def| def.name).collect();
        for def in ALL {
            assert!(lab_api::names::is_dns_label(def.name), "{}", def.name);
            for text in [def.help, def.expect, def.healed_by] {
                assert!(text.len() > 20, "{}: {text:?}", def.name);
            }
            assert!(!def.engines.is_empty(), "{}", def.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn an_unknown_fault_is_answered_with_those_there_are() {
        let message = FaultDef::named("fire").err().unwrap().to_string();
        assert!(message.contains("node-kill"), "{message}");
    }

    #[test]
    fn options_are_told_by_name() {
        let request = Request {
            share: Some("1%".into()),
            status: Some(500),
            ..Request::default()
        };
        assert_eq!(request.given(), ["share", "status"]);
    }
}
