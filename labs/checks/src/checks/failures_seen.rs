//! K020: users met failures, and somebody watched.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::traffic_record::{RecordedFailure, TrafficRecord};

/// How any version is written.
pub(super) const ANY_VERSION: &str = "*";

pub(super) const DEF: CheckDef = CheckDef {
    code: "K020",
    name: "failures-seen",
    help: "The record of `devops-lab traffic` shows that at least `minFailures` requests to the production \
        listener failed since the lab began: with status 500 or above, or without an answer. With `version`, \
        only answers of that version count.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    min_failures: u64,
    version: Option<String>,
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        if self.min_failures == 0 {
            return Err("`minFailures` must be 1 or more: 0 is shown by nothing".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    Ok(judge(&with, &TrafficRecord::read(&context).await?))
}

fn judge(with: &With, record: &TrafficRecord) -> Outcome {
    let version = with.version.as_deref();
    let failures: Vec<&RecordedFailure> = record
        .of_users()
        .flat_map(|run| run.outage(version))
        .collect();
    let (requests, failed) = record.of_users().fold((0, 0), |(requests, failed), run| {
        let (more, bad) = run.between(i64::MIN, i64::MAX);
        (requests + more, failed + bad)
    });
    let since = failures.first().map(|failure| failure.at);
    let shown = |moment: Option<jiff::Timestamp>| {
        moment.map_or_else(|| "–".to_owned(), |moment| moment.to_string())
    };
    let said = version.unwrap_or(ANY_VERSION).to_owned();
    let evidence = Evidence {
        expected: Fact::FailuresWanted {
            failures: with.min_failures.to_string(),
            version: said.clone(),
        },
        observed: Fact::Met {
            requests: requests.to_string(),
            failed: failed.to_string(),
            from: shown(since),
            to: shown(failures.last().map(|failure| failure.at)),
        },
        since,
    };
    let found = failures.len() as u64;
    let found = if record.of_users().next().is_none() {
        Err(Diagnosis::NoTrafficRecord {})
    } else if found < with.min_failures {
        Err(Diagnosis::NoFailureSeen {
            expected: with.min_failures.to_string(),
            found: found.to_string(),
            version: said,
        })
    } else {
        Ok(())
    };
    Outcome::of(evidence, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readers::traffic_record::samples::{record, run};

    #[track_caller]
    fn case(expected: Option<&str>, version: Option<&str>, record: &TrafficRecord) {
        let with = With {
            min_failures: 3,
            version: version.map(str::to_owned),
        };
        let outcome = judge(&with, record);
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected);
    }

    #[test]
    fn failures_that_users_met_hold() {
        case(None, None, &record([run(0, 60).failing(10..13)]));
        case(None, Some("2.0.0"), &record([run(0, 60).failing(10..13)]));
        // Together they are enough: the traffic may have been started again.
        case(
            None,
            None,
            &record([run(0, 20).failing(10..12), run(30, 60).failing([40])]),
        );
    }

    #[test]
    fn what_no_user_met_does_not_pass() {
        case(Some("no-traffic-record"), None, &record([]));
        case(Some("no-failure-seen"), None, &record([run(0, 60)]));
        case(
            Some("no-failure-seen"),
            None,
            &record([run(0, 60).failing(10..12)]),
        );
        case(
            Some("no-failure-seen"),
            Some("1.0.0"),
            &record([run(0, 60).failing(10..13)]),
        );
        let elsewhere = record([run(0, 60).failing(10..13).elsewhere()]);
        case(Some("no-traffic-record"), None, &elsewhere);
        // Asking for what is not there is no failure of the application.
        let mut missing = run(0, 60).failing(10..20);
        for failure in &mut missing.failures {
            failure.status = Some(404);
        }
        case(Some("no-failure-seen"), None, &record([missing]));
    }
}
