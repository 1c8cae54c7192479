//! Recording and alerting rules, as Prometheus evaluates them.
//!
//! `group` decides (pure: a query function in, samples and news out), `template` writes
//! annotations, `run` watches the PrometheusRules, keeps the rhythm and carries the news out as
//! events and as aborted rollouts.

mod group;
mod run;
mod template;

pub(crate) use group::{ActiveAlert, AlertState, AlertingView, GroupView, RuleView};
pub(crate) use run::{Board, Rules};
