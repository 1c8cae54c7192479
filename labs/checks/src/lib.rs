//! Labs as data, and the checks that tell whether a learner's cluster shows what a step asks for.
//!
//! A lab is a folder ([`library`]): `lab.yaml` for its structure, `en.md` and `fr.md` for its
//! prose. A step names checks; a check reads the cluster through the Kubernetes API, the load
//! balancer and the registry, and answers with one of three outcomes ([`outcome`]): it holds, it
//! does not yet (with evidence, the likeliest cause and the next thing to look at), or the check
//! itself could not run. A check that passes on a state which does not show the skill is the
//! worst fault this crate can have.
//!
//! This crate must never know the store, an engine or how a cluster is started: everything goes
//! through a [`kube::Client`] and plain HTTP, so that a lab runs on any Kubernetes cluster. It
//! never writes to a cluster, and it has no clock of its own.
//!
//! Start reading at [`runner`], then [`checks`] and one check, then [`diagnosis`] for every cause
//! that can be named.

#[macro_use]
mod messages;

pub mod answers;
pub mod checks;
pub mod context;
pub mod diagnosis;
pub mod fact;
pub mod lab;
pub mod language;
pub mod library;
pub mod outcome;
pub mod problem;
pub mod process_group;
pub mod progress;
pub mod reference;
pub mod runner;
pub mod scaffold;

mod desk;
mod expression;
mod format;
mod pattern;
mod placeholders;
mod pod_trouble;
mod prose;
mod read;
mod readers;
mod subject;
mod windows;
mod workload;

#[cfg(test)]
mod fixtures;
