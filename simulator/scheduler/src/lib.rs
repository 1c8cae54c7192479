//! Chooses a node for each new pod: filter, score, bind.
//!
//! ```text
//! watch of nodes ─┐                 ┌─▶ plugins: filter, score ─▶ binding (up to 64 at once)
//! watch of pods  ─┴▶ snapshot, queue┤
//!                                   └─▶ condition PodScheduled=False, event FailedScheduling
//! ```
//!
//! The decision is a pure function of a pod and a [`Snapshot`] ([`schedule`]); everything that
//! can rule a node out or prefer one is a plugin, listed in [`plugins::ALL`]. The shape and the
//! words are those of kube-scheduler:
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/>. Preemption
//! is deliberately missing: a pod's priority orders the queue and no more.
//!
//! This crate must never know how pods run, where state is stored or who serves the API.
//!
//! Start reading at [`run`] for the loop, and at [`schedule`] for the decision.

pub mod plugins;

mod backoff;
mod brain;
mod conditions;
mod node;
mod pod;
mod queue;
mod relist;
mod run;
mod schedule;
mod snapshot;
mod watched;

pub use node::{Node, Usage};
pub use pod::{PodInfo, Template, Templates};
pub use run::run;
pub use schedule::{Decision, Unschedulable, schedule};
pub use snapshot::Snapshot;
pub use watched::{WatchedContainer, WatchedPod, WatchedSpec, WatchedStatus};

#[cfg(test)]
mod tests;
