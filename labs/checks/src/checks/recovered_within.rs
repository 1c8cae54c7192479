//! K019: users met failures, and soon no more.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use super::failures_seen::ANY_VERSION;
use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::traffic_record::{RecordedFailure, TrafficRecord, TrafficRun};

/// Seconds without a failure that show that it is over.
const QUIET: i64 = 5;
/// Requests that must have succeeded in that time: a trickle may miss a version that fails.
const SUCCESSES: u64 = 25;
/// Failures further apart than this, in seconds, are two outages.
const APART: i64 = 60;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K019",
    name: "recovered-within",
    help: "The record of `devops-lab traffic` shows at least `minFailures` (1 by default) failed requests to the \
        production listener since the lab began, of `version` where it is named, then 5 seconds or more and 25 \
        requests or more without any failure; from the first failure to the last are `seconds` at most. Of \
        outages more than a minute apart, the last one counts.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    seconds: u64,
    #[serde(default = "one")]
    min_failures: usize,
    version: Option<String>,
}

fn one() -> usize {
    1
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        if self.min_failures == 0 {
            return Err("`minFailures` must be 1 or more: nobody recovers from nothing".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    Ok(judge(&with, &TrafficRecord::read(&context).await?))
}

/// An outage in a run.
struct Outage<'a> {
    run: &'a TrafficRun,
    failures: Vec<&'a RecordedFailure>,
}

impl Outage<'_> {
    fn first(&self) -> Timestamp {
        self.failures[0].at
    }

    fn last(&self) -> Timestamp {
        self.failures[self.failures.len() - 1].at
    }

    fn lasted(&self) -> SignedDuration {
        self.last().duration_since(self.first())
    }

    /// Whole seconds without any failure since, and the requests that succeeded in them.
    fn quiet(&self) -> (i64, u64) {
        let any = self
            .run
            .outage(None)
            .last()
            .map_or(self.last(), |failure| failure.at);
        let from = any.as_second() + 1;
        let seconds = self.run.last_second().map_or(0, |last| last - from + 1);
        let (requests, failed) = self.run.between(from, i64::MAX);
        (seconds.max(0), requests - failed)
    }
}

/// The last outage of enough failures; else the last one.
fn outage<'a>(with: &With, record: &'a TrafficRecord) -> Option<Outage<'a>> {
    let mut outages: Vec<Outage<'a>> = Vec::new();
    for run in record.of_users() {
        let mut failures: Vec<&RecordedFailure> = Vec::new();
        for failure in run.outage(with.version.as_deref()) {
            let apart = failures.last().is_some_and(|last| {
                failure.at.duration_since(last.at) > SignedDuration::from_secs(APART)
            });
            if apart {
                let failures = std::mem::take(&mut failures);
                outages.push(Outage { run, failures });
            }
            failures.push(failure);
        }
        if !failures.is_empty() {
            outages.push(Outage { run, failures });
        }
    }
    let enough = outages
        .iter()
        .rposition(|outage| outage.failures.len() >= with.min_failures);
    let chosen = enough.or(outages.len().checked_sub(1))?;
    Some(outages.swap_remove(chosen))
}

fn judge(with: &With, record: &TrafficRecord) -> Outcome {
    let outage = outage(with, record);
    let version = with.version.as_deref().unwrap_or(ANY_VERSION);
    let lasted = outage.as_ref().map(|outage| outage.lasted().as_secs_f64());
    let lasted = lasted.unwrap_or_default();
    let observed = Fact::Recovery {
        failures: outage
            .as_ref()
            .map_or(0, |outage| outage.failures.len())
            .to_string(),
        seconds: format!("{lasted:.1}"),
        since: outage
            .as_ref()
            .map_or(0, |outage| outage.quiet().0)
            .to_string(),
    };
    let evidence = Evidence {
        expected: Fact::RecoveryWanted {
            failures: with.min_failures.to_string(),
            version: version.to_owned(),
            seconds: with.seconds.to_string(),
        },
        observed,
        since: outage.as_ref().map(Outage::last),
    };
    let found = if record.of_users().next().is_none() {
        Err(Diagnosis::NoTrafficRecord {})
    } else {
        match outage.filter(|outage| outage.failures.len() >= with.min_failures) {
            Some(outage) => recovered(with, &outage, record),
            None => Err(Diagnosis::NoFailureSeen {
                expected: with.min_failures.to_string(),
                found: match &evidence.observed {
                    Fact::Recovery { failures, .. } => failures.clone(),
                    _ => String::new(),
                },
                version: version.to_owned(),
            }),
        }
    };
    Outcome::of(evidence, found)
}

fn recovered(with: &With, outage: &Outage<'_>, record: &TrafficRecord) -> Result<(), Diagnosis> {
    let (quiet, successes) = outage.quiet();
    if quiet < QUIET || successes < SUCCESSES {
        let last = outage.last().to_string();
        let seconds = QUIET.to_string();
        let is_latest = record
            .of_users()
            .last()
            .is_some_and(|run| std::ptr::eq(run, outage.run));
        return Err(if outage.run.ended.is_some() || !is_latest {
            Diagnosis::TrafficStoppedTooEarly { last, seconds }
        } else {
            Diagnosis::StillFailing { last, seconds }
        });
    }
    let lasted = outage.lasted();
    let allowed = SignedDuration::from_secs(i64::try_from(with.seconds).unwrap_or(i64::MAX));
    if lasted > allowed {
        return Err(Diagnosis::RecoveredTooLate {
            expected: with.seconds.to_string(),
            found: format!("{:.1}", lasted.as_secs_f64()),
            first: outage.first().to_string(),
            last: outage.last().to_string(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::traffic_record::samples::{record, run};

    #[track_caller]
    fn case(expected: Option<&str>, record: &TrafficRecord) {
        let with = With {
            seconds: 30,
            min_failures: 3,
            version: None,
        };
        let outcome = judge(&with, record);
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected);
    }

    #[test]
    fn failures_that_ended_in_time_hold() {
        case(None, &record([run(0, 60).failing(10..=40)]));
        case(None, &record([run(0, 60).failing(10..=40).stopped()]));
        // An earlier attempt that took too long does not spoil a later one.
        let twice = run(0, 200).failing((10..=60).chain(150..=170));
        case(None, &record([twice]));
        case(
            None,
            &record([
                run(0, 90).failing(10..=80).stopped(),
                run(100, 140).failing(105..=120),
            ]),
        );
    }

    #[test]
    fn failures_that_go_on_or_went_on_too_long_do_not_pass() {
        case(Some("no-traffic-record"), &record([]));
        case(Some("no-failure-seen"), &record([run(0, 60)]));
        case(
            Some("no-failure-seen"),
            &record([run(0, 60).failing([10, 11])]),
        );
        case(
            Some("recovered-too-late"),
            &record([run(0, 60).failing(10..=41)]),
        );
        case(
            Some("still-failing"),
            &record([run(0, 40).failing(10..=40)]),
        );
        case(
            Some("still-failing"),
            &record([run(0, 44).failing(10..=40)]),
        );
        case(
            Some("traffic-stopped-too-early"),
            &record([run(0, 44).failing(10..=40).stopped()]),
        );
        case(
            Some("no-traffic-record"),
            &record([run(0, 60).failing(10..=40).elsewhere()]),
        );
    }

    #[test]
    fn a_trickle_of_requests_shows_no_recovery() {
        let mut trickle = run(0, 60).failing(10..=40);
        for second in &mut trickle.seconds {
            second.requests = 1;
        }
        case(Some("still-failing"), &record([trickle]));
    }

    #[test]
    fn another_run_that_goes_well_shows_no_recovery_of_the_one_that_failed() {
        let runs = [run(0, 20).failing(10..=20).stopped(), run(40, 80)];
        case(Some("traffic-stopped-too-early"), &record(runs));
    }

    #[test]
    fn failures_of_another_version_put_recovery_off() {
        let with = With {
            seconds: 30,
            min_failures: 3,
            version: Some("2.0.0".to_owned()),
        };
        let mut both = run(0, 60).failing((10..=20).chain(50..=58));
        for failure in &mut both.failures[11..] {
            failure.version = Some("1.0.0".into());
        }
        let outcome = judge(&with, &record([both]));
        assert_eq!(
            outcome.diagnosis().map(Diagnosis::id),
            Some("still-failing")
        );
    }
}
