//! K018: users met no more failures than allowed while something happened.
//!
//! The cluster tells when it happened, the record of the learner's own traffic what users met
//! then. A record that does not span the whole of it shows nothing.

use futures::try_join;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::Api;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, Consistent, accepts_consistent, bad_parameters, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::language::Language;
use crate::outcome::{Evidence, Outcome};
use crate::read;
use crate::readers::traffic_record::{TrafficRecord, TrafficRun};
use crate::subject::{Subject, SubjectFields, SubjectName, Subjects};
use crate::windows::{Happened, Window};

/// The record must go on for so many seconds after the end: what ends last, users notice last.
const AFTER: i64 = 2;
/// Failures in so many seconds after the end count: pods that were replaced finish requests, and
/// requests without an answer are given up late.
const ECHO: i64 = 5;
/// Failed requests that are told one by one.
const TOLD: usize = 5;
/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";
/// Where events about nodes are.
const NODE_EVENTS: &str = "default";

const NAME: &str = "availability-held";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K018",
    name: NAME,
    help: "Since the lab began, this happened to Deployment `deployment` or Rollout `rollout` (or to any of them), and \
        the record of `devops-lab traffic` spans all of it: from before its beginning until 2 seconds after its end, \
        with at least `minRequests` (100 by default) requests to the production listener and at most `maxFailed` (0 \
        by default) failures in that time and the 5 seconds after (where a node was lost, from the beginning of that \
        record: nobody knows afterwards when it fell silent). With `minAvailability`, a percentage of requests \
        must have succeeded instead. `during` is `rollout` (an update of pods, to image `to` where it is named), \
        `node-loss`, `pod-loss`, or `any`: whichever of these was last.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(NAME, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    during: During,
    #[serde(flatten)]
    subject: SubjectFields,
    to: Option<String>,
    #[serde(default = "hundred")]
    min_requests: u64,
    max_failed: Option<u64>,
    min_availability: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum During {
    Rollout,
    NodeLoss,
    PodLoss,
    Any,
}

impl During {
    fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::NodeLoss => "node-loss",
            Self::PodLoss => "pod-loss",
            Self::Any => "rollout, node-loss, pod-loss",
        }
    }
}

fn hundred() -> u64 {
    100
}

impl With {
    /// How many of these requests may have failed.
    fn allowed(&self, requests: u64) -> u64 {
        let by_share = self.min_availability.map(|percent| {
            // Rounded against the learner only by what a float cannot hold.
            (requests as f64 * (100.0 - percent) / 100.0 + 1e-9).floor() as u64
        });
        match (self.max_failed, by_share) {
            (Some(count), Some(share)) => count.min(share),
            (Some(count), None) => count,
            (None, Some(share)) => share,
            (None, None) => 0,
        }
    }

    fn allowed_text(&self) -> String {
        match (self.max_failed, self.min_availability) {
            (None, Some(percent)) => format!("{} %", 100.0 - percent),
            (count, None | Some(_)) => count.unwrap_or(0).to_string(),
        }
    }
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        self.subject.optional()?;
        if self.min_requests == 0 {
            return Err("`minRequests` must be 1 or more: no request, no failure".to_owned());
        }
        if self
            .min_availability
            .is_some_and(|percent| !(0.0..=100.0).contains(&percent))
        {
            return Err("`minAvailability` is a percentage, 0 to 100".to_owned());
        }
        if self.to.is_some() && self.during != During::Rollout {
            return Err("`to` goes with `during: rollout` only".to_owned());
        }
        Ok(())
    }
}

/// What was read beside the workloads.
#[derive(Clone, Debug, Default)]
struct Around {
    nodes: Vec<Node>,
    leases: Vec<Lease>,
    node_events: Vec<Event>,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let name = with.subject.optional().map_err(bad_parameters(NAME))?;
    let client = &context.client;
    let around = async {
        Ok(match with.during {
            During::Rollout | During::PodLoss => Around::default(),
            // On a shared cluster a learner may not see nodes; then their events must do.
            During::NodeLoss | During::Any => Around {
                nodes: read::list(Api::all(client.clone()))
                    .await
                    .unwrap_or_default(),
                leases: read::here(client, LEASES).await.unwrap_or_default(),
                node_events: read::here(client, NODE_EVENTS).await.unwrap_or_default(),
            },
        })
    };
    let seen = Subjects::read(&context, name.as_ref());
    let (seen, around, record) = try_join!(seen, around, TrafficRecord::read(&context))?;
    let subjects = match &name {
        Some(name) => seen
            .of(name, &context.namespace)
            .map(|subject| vec![subject]),
        None => Ok(seen.all(&context.namespace)),
    };
    let since = context.desk.since;
    Ok(judge(
        &with,
        name.as_ref(),
        subjects,
        &around,
        &record,
        since,
    ))
}

fn judge(
    with: &With,
    name: Option<&SubjectName>,
    subjects: Result<Vec<Subject<'_>>, Diagnosis>,
    around: &Around,
    record: &TrafficRecord,
    since: Option<Timestamp>,
) -> Outcome {
    let names = name.map_or("*", SubjectName::name).to_owned();
    let expected = Fact::AvailabilityWanted {
        event: match &with.to {
            Some(to) => format!("{} → {to}", with.during.name()),
            None => with.during.name().to_owned(),
        },
        names: names.clone(),
        requests: with.min_requests.to_string(),
        failures: with.allowed_text(),
    };
    let window = subjects.and_then(|subjects| {
        let windows = subjects
            .iter()
            .map(|subject| window(with, subject, around, since));
        latest(windows).unwrap_or_else(|| {
            Err(Diagnosis::NoSuchEvent {
                event: with.during.name().to_owned(),
                names: names.clone(),
            })
        })
    });
    let Ok(window) = window else {
        let evidence = Evidence {
            expected,
            observed: met(None, None),
            since: None,
        };
        return Outcome::of(evidence, window.map(drop));
    };
    let spanning = spanning(record, window);
    let run = spanning.as_ref().ok().copied();
    let window = run.map_or(window, |run| counted(with, run, window));
    let evidence = Evidence {
        expected,
        observed: met(run, Some(window)),
        since: Some(window.to),
    };
    Outcome::of(evidence, spanning.and_then(|run| held(with, run, window)))
}

/// When it happened to one workload.
fn window(
    with: &With,
    subject: &Subject<'_>,
    around: &Around,
    since: Option<Timestamp>,
) -> Result<Window, Diagnosis> {
    let happened = Happened {
        subject,
        nodes: &around.nodes,
        leases: &around.leases,
        node_events: &around.node_events,
        since,
    };
    match with.during {
        During::Rollout => happened.update(with.to.as_deref()),
        During::NodeLoss => happened.node_loss(),
        During::PodLoss => happened.pod_loss(),
        During::Any => {
            let any = [
                happened.update(None),
                happened.node_loss(),
                happened.pod_loss(),
            ];
            latest(any.into_iter()).expect("there are three")
        }
    }
}

/// Of several things that may have happened the last; where none did, what says most about why.
fn latest(
    found: impl Iterator<Item = Result<Window, Diagnosis>>,
) -> Option<Result<Window, Diagnosis>> {
    found.reduce(|one, other| match (&one, &other) {
        (Ok(first), Ok(second)) if first.from >= second.from => one,
        (Ok(_), Err(_)) => one,
        (_, Ok(_)) | (Err(Diagnosis::NoSuchEvent { .. }), Err(_)) => other,
        (Err(_), Err(_)) => one,
    })
}

/// The time in which failures count. A node falls silent up to a minute before it is found missing,
/// and once it is back nobody knows when that was: all that users met since they came counts.
fn counted(with: &With, run: &TrafficRun, window: Window) -> Window {
    match with.during {
        During::NodeLoss => Window {
            from: window.from.min(run.started),
            ..window
        },
        During::Rollout | During::PodLoss | During::Any => window,
    }
}

/// The seconds that count.
fn seconds(window: Window) -> (i64, i64) {
    (window.from.as_second(), window.to.as_second() + ECHO)
}

/// The run that spans the whole of it.
fn spanning(record: &TrafficRecord, window: Window) -> Result<&TrafficRun, Diagnosis> {
    let (from, to) = (window.from.as_second(), window.to.as_second() + AFTER);
    let began_before = |run: &&TrafficRun| {
        let first = run.seconds.first().map(|second| second.at);
        run.started.as_second() < from && first.is_some_and(|first| first <= from)
    };
    let mut before = record.of_users().filter(began_before);
    let spans = |run: &&TrafficRun| run.last_second().is_some_and(|last| last >= to);
    if let Some(run) = before.clone().rfind(spans) {
        return Ok(run);
    }
    let Some(latest) = record.of_users().last() else {
        return Err(Diagnosis::NoTrafficRecord {});
    };
    let on_its_way = before.any(|run| {
        std::ptr::eq(run, latest)
            && run.ended.is_none()
            && run
                .last_second()
                .is_some_and(|last| last >= window.to.as_second())
    });
    let recorded = record.of_users().map(|run| {
        let last = run
            .last_second()
            .and_then(|last| Timestamp::from_second(last).ok());
        format!(
            "{} – {}",
            run.started.round(jiff::Unit::Second).unwrap_or(run.started),
            last.unwrap_or(run.started)
        )
    });
    let recorded: Vec<_> = recorded.collect();
    Err(if on_its_way {
        Diagnosis::TrafficGoingOn {
            to: moment(window.to, AFTER),
        }
    } else {
        Diagnosis::TrafficDoesNotCover {
            from: window.from.to_string(),
            to: moment(window.to, AFTER),
            recorded: recorded.join(", "),
        }
    })
}

fn moment(at: Timestamp, later: i64) -> String {
    let moved = at
        .checked_add(SignedDuration::from_secs(later))
        .unwrap_or(at);
    moved.to_string()
}

fn held(with: &With, run: &TrafficRun, window: Window) -> Result<(), Diagnosis> {
    let (from, to) = seconds(window);
    let (requests, failed) = run.between(from, to);
    if requests < with.min_requests {
        return Err(Diagnosis::TooFewRequests {
            expected: with.min_requests.to_string(),
            found: requests.to_string(),
        });
    }
    if failed > with.allowed(requests) {
        return Err(Diagnosis::RequestsFailed {
            failed: failed.to_string(),
            requests: requests.to_string(),
            allowed: with.allowed_text(),
            from: window.from.to_string(),
            to: moment(window.to, ECHO),
        });
    }
    Ok(())
}

fn met(run: Option<&TrafficRun>, window: Option<Window>) -> Fact {
    let shown = |at: Option<Timestamp>| at.map_or_else(|| "–".to_owned(), |at| at.to_string());
    let from = shown(window.map(|window| window.from));
    let to = shown(window.map(|window| window.to));
    let recorded = run.zip(window.map(seconds));
    let (requests, failed) =
        recorded.map_or((0, 0), |(run, (first, last))| run.between(first, last));
    let (requests, failed) = (requests.to_string(), failed.to_string());
    let told = |language| recorded.map(|(run, span)| first_failures(run, span, language));
    match (told(Language::En), told(Language::Fr)) {
        (Some(first), Some(premiers)) if !first.is_empty() => Fact::MetFailures {
            requests,
            failed,
            from,
            to,
            first,
            premiers,
        },
        _ => Fact::Met {
            requests,
            failed,
            from,
            to,
        },
    }
}

/// Which requests failed in these seconds, the first of them one by one.
fn first_failures(run: &TrafficRun, (first, last): (i64, i64), language: Language) -> String {
    let mut failed = run.failed_between(first, last);
    let told: Vec<_> = failed
        .by_ref()
        .take(TOLD)
        .map(|failure| failure.text(language))
        .collect();
    let more = if failed.next().is_some() { ", …" } else { "" };
    format!("{}{more}", told.join(", "))
}

#[cfg(test)]
mod tests;
