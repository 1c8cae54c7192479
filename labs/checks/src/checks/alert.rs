//! K022: an alert is in a state, or was.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::readers::prometheus::{Prometheus, Series};
use crate::subject::in_time;

/// How long the metrics keep samples, in seconds.
const KEPT: u32 = 7200;

pub(super) const DEF: CheckDef = CheckDef {
    code: "K022",
    name: "alert",
    help: "The metrics know alert `alert`, and it is `state`: `firing`, `pending` or `inactive`. With \
        `firedWithin`, it fired at some time within so many seconds and since the lab began; with `state: firing` \
        that is enough, with another state it must have come to that since.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    alert: String,
    state: AlertState,
    fired_within: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AlertState {
    Firing,
    Pending,
    Inactive,
}

impl AlertState {
    fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Pending => "pending",
            Self::Inactive => "inactive",
        }
    }
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        let plain = |letter: char| letter.is_alphanumeric() || "_-. ".contains(letter);
        if self.alert.is_empty() || !self.alert.chars().all(plain) {
            return Err(format!("{:?} is no name of an alert", self.alert));
        }
        match self.fired_within {
            Some(seconds) if seconds == 0 || seconds > KEPT => Err(format!(
                "`firedWithin` is {seconds}: the metrics are kept for {KEPT} seconds"
            )),
            Some(_) | None => Ok(()),
        }
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let metrics = Prometheus::new(&context.addresses.metrics);
    let rules = metrics.alerts().await?;
    let seconds = with.fired_within.unwrap_or(KEPT);
    // A range without a function gives the samples themselves, with their times.
    let query = format!(
        "ALERTS{{alertname=\"{}\",alertstate=\"firing\"}}[{seconds}s]",
        with.alert
    );
    let fired = metrics.query(&query).await?;
    Ok(judge(&with, &rules, &fired, context.desk.since))
}

fn judge(with: &With, rules: &[Value], fired: &[Series], since: Option<Timestamp>) -> Outcome {
    let AlertOf { state, present } = AlertOf::find(&with.alert, rules);
    let moments = fired.iter().flat_map(|series| &series.samples);
    let last = moments
        .map(|(at, _)| *at)
        .filter(|at| in_time(*at, since))
        .max();
    let evidence = Evidence {
        expected: Fact::AlertWanted {
            alert: with.alert.clone(),
            state: with.state.as_str().to_owned(),
        },
        observed: Fact::Alert {
            alert: with.alert.clone(),
            state: state.clone().unwrap_or_else(|| "–".to_owned()),
            fired: last.map_or_else(|| "–".to_owned(), |at| at.to_string()),
        },
        since: last,
    };
    Outcome::of(evidence, find(with, state, &present, last))
}

/// What is known of an alert.
struct AlertOf {
    /// The most urgent state of the rules of its name.
    state: Option<String>,
    /// Names of all alerts.
    present: Vec<String>,
}

impl AlertOf {
    fn find(alert: &str, rules: &[Value]) -> Self {
        let own = rules.iter().filter(|rule| rule["name"] == alert);
        let states: Vec<_> = own.filter_map(|rule| rule["state"].as_str()).collect();
        let urgency = [
            AlertState::Firing,
            AlertState::Pending,
            AlertState::Inactive,
        ];
        let state = urgency
            .iter()
            .map(|state| state.as_str())
            .find(|state| states.contains(state));
        Self {
            state: state.map(str::to_owned),
            present: rules
                .iter()
                .filter_map(|rule| rule["name"].as_str())
                .map(str::to_owned)
                .collect(),
        }
    }
}

fn find(
    with: &With,
    state: Option<String>,
    present: &[String],
    last: Option<Timestamp>,
) -> Result<(), Diagnosis> {
    let Some(found) = state else {
        return Err(Diagnosis::AlertUnknown {
            alert: with.alert.clone(),
            present: if present.is_empty() {
                "–".to_owned()
            } else {
                present.join(", ")
            },
        });
    };
    if let Some(seconds) = with.fired_within {
        if last.is_none() {
            return Err(Diagnosis::AlertNeverFired {
                alert: with.alert.clone(),
                seconds: seconds.to_string(),
            });
        }
        if with.state == AlertState::Firing {
            return Ok(());
        }
    }
    if found != with.state.as_str() {
        return Err(Diagnosis::AlertOtherState {
            alert: with.alert.clone(),
            expected: with.state.as_str().to_owned(),
            found,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::readers::traffic_record::samples::moment;

    fn rules(state: &str) -> Vec<Value> {
        vec![
            json!({"name": "Errors", "type": "alerting", "state": state}),
            json!({"name": "Slow", "type": "alerting", "state": "firing"}),
        ]
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, rules: &[Value], fired: &[i64]) {
        let with: With = serde_json::from_value(with).unwrap();
        let fired = Series {
            labels: json!({}),
            samples: fired.iter().map(|at| (moment(*at), 1.0)).collect(),
        };
        let outcome = judge(&with, rules, &[fired], Some(moment(100)));
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected, "{with:?}");
    }

    #[test]
    fn the_state_of_now_must_be_the_one_asked_for() {
        for state in ["firing", "pending", "inactive"] {
            case(
                None,
                json!({"alert": "Errors", "state": state}),
                &rules(state),
                &[],
            );
        }
        case(
            Some("alert-other-state"),
            json!({"alert": "Errors", "state": "firing"}),
            &rules("pending"),
            &[],
        );
        // It is defined, and never fired.
        case(
            Some("alert-other-state"),
            json!({"alert": "Errors", "state": "firing"}),
            &rules("inactive"),
            &[],
        );
        case(
            Some("alert-unknown"),
            json!({"alert": "Errors", "state": "inactive"}),
            &[],
            &[],
        );
        case(
            Some("alert-unknown"),
            json!({"alert": "errors", "state": "firing"}),
            &rules("firing"),
            &[],
        );
    }

    #[test]
    fn an_alert_that_fired_is_told_by_its_samples_in_the_labs_time() {
        let fired = json!({"alert": "Errors", "state": "firing", "firedWithin": 300});
        let over = json!({"alert": "Errors", "state": "inactive", "firedWithin": 300});
        case(None, fired.clone(), &rules("inactive"), &[120]);
        case(None, over.clone(), &rules("inactive"), &[120]);
        case(
            Some("alert-never-fired"),
            fired.clone(),
            &rules("inactive"),
            &[],
        );
        case(
            Some("alert-never-fired"),
            over.clone(),
            &rules("inactive"),
            &[],
        );
        // Before the lab began.
        case(
            Some("alert-never-fired"),
            fired,
            &rules("inactive"),
            &[50, 99],
        );
        case(Some("alert-other-state"), over, &rules("firing"), &[120]);
    }

    #[test]
    fn faults_of_the_author_are_told() {
        let problem = |with: Value| {
            let with: With = serde_json::from_value(with).unwrap();
            with.consistent().unwrap_err()
        };
        assert!(problem(json!({"alert": "a\"}", "state": "firing"})).contains("name"));
        assert!(problem(json!({"alert": "", "state": "firing"})).contains("name"));
        assert!(
            problem(json!({"alert": "A", "state": "firing", "firedWithin": 9000})).contains("7200")
        );
        serde_json::from_value::<With>(json!({"alert": "A", "state": "red"})).unwrap_err();
    }
}
