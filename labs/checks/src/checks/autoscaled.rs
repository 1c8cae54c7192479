//! K025: an autoscaler changed the number of replicas because of load, not somebody by hand.

use std::collections::BTreeMap;

use futures::try_join;
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, MetricSpec, MetricTarget};
use k8s_openapi::api::core::v1::Event;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::read;
use crate::subject::{in_time, last_time};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K025",
    name: "autoscaled",
    help: "HorizontalPodAutoscaler `hpa` asked for at least `reached` replicas since the lab began because a metric was \
        above its target, as its events tell (not because somebody scaled by hand or raised the minimum). With `now`, \
        there are at most `now.max` replicas at present; with both, it came back by itself. With `metricTarget`, it \
        aims at these metrics: `{cpu: 70}` is an average utilization in percent, a text such as `500m` a value.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    hpa: String,
    reached: Option<i32>,
    now: Option<Now>,
    #[serde(default)]
    metric_target: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Now {
    max: i32,
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        if self.reached.is_none() && self.now.is_none() && self.metric_target.is_empty() {
            return Err(
                "it asks nothing of the autoscaler: name `reached`, `now` or `metricTarget`"
                    .to_owned(),
            );
        }
        if self.reached.is_some_and(|reached| reached < 2) {
            return Err("`reached` must be 2 or more: one replica shows no scaling".to_owned());
        }
        if let (Some(reached), Some(now)) = (self.reached, self.now)
            && now.max >= reached
        {
            return Err("`now.max` must be below `reached`".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let (client, namespace) = (&context.client, context.namespace.as_str());
    let (hpas, events) = try_join!(
        read::everywhere::<HorizontalPodAutoscaler>(client, namespace),
        read::here::<Event>(client, namespace),
    )?;
    Ok(judge(&with, namespace, &hpas, &events, context.desk.since))
}

/// A change that the autoscaler made.
struct Rescale {
    size: i32,
    at: Timestamp,
    by_load: bool,
    less: bool,
}

/// `New size: 6; reason: cpu resource utilization (percentage of request) above target`.
fn rescale(event: &Event) -> Option<Rescale> {
    let message = event.message.as_deref()?.strip_prefix("New size: ")?;
    let (size, reason) = message.split_once(';')?;
    Some(Rescale {
        size: size.trim().parse().ok()?,
        at: last_time(event)?,
        by_load: reason.contains("above target"),
        less: reason.contains("below target"),
    })
}

fn judge(
    with: &With,
    namespace: &str,
    hpas: &[HorizontalPodAutoscaler],
    events: &[Event],
    since: Option<Timestamp>,
) -> Outcome {
    let shown =
        |number: Option<i32>| number.map_or_else(|| "–".to_owned(), |number| number.to_string());
    let expected = Fact::ScalingWanted {
        hpa: with.hpa.clone(),
        reached: shown(with.reached),
        now: shown(with.now.map(|now| now.max)),
    };
    let hpa = match read::named(hpas, &with.hpa, namespace) {
        Ok(hpa) => hpa,
        Err(diagnosis) => {
            let observed = Fact::Nothing {
                kind: "HorizontalPodAutoscaler".to_owned(),
                name: with.hpa.clone(),
            };
            let evidence = Evidence {
                expected,
                observed,
                since: None,
            };
            return Outcome::of(evidence, Err(diagnosis));
        }
    };
    let own = events.iter().filter(|event| {
        let about = &event.involved_object;
        event.reason.as_deref() == Some("SuccessfulRescale")
            && about.kind.as_deref() == Some("HorizontalPodAutoscaler")
            && about.name.as_deref() == Some(&with.hpa)
    });
    let changes: Vec<_> = own
        .filter_map(rescale)
        .filter(|change| in_time(change.at, since))
        .collect();
    let highest = changes
        .iter()
        .filter(|change| change.by_load)
        .map(|change| change.size)
        .max();
    let replicas = hpa
        .status
        .as_ref()
        .and_then(|status| status.current_replicas);
    let evidence = Evidence {
        expected,
        observed: Fact::Scaling {
            hpa: with.hpa.clone(),
            highest: shown(highest),
            replicas: shown(replicas),
        },
        since: changes.iter().map(|change| change.at).max(),
    };
    let found = aims(with, hpa).and_then(|()| find(with, hpa, &changes, highest, replicas));
    Outcome::of(evidence, found)
}

fn find(
    with: &With,
    hpa: &HorizontalPodAutoscaler,
    changes: &[Rescale],
    highest: Option<i32>,
    replicas: Option<i32>,
) -> Result<(), Diagnosis> {
    let name = with.hpa.clone();
    if let Some(reached) = with.reached
        && highest.is_none_or(|highest| highest < reached)
    {
        if let Some(replicas) = replicas.filter(|replicas| *replicas >= reached) {
            return Err(Diagnosis::ScaledByHand {
                hpa: name,
                replicas: replicas.to_string(),
            });
        }
        measures(hpa, &name)?;
        return Err(Diagnosis::HpaNeverScaled {
            hpa: name,
            expected: reached.to_string(),
            found: highest.unwrap_or(0).to_string(),
        });
    }
    if with.reached.is_none() {
        measures(hpa, &name)?;
    }
    let Some(now) = with.now else {
        return Ok(());
    };
    let Some(replicas) = replicas.filter(|replicas| *replicas <= now.max) else {
        return Err(Diagnosis::HpaNotBack {
            hpa: name,
            expected: now.max.to_string(),
            found: replicas.unwrap_or(0).to_string(),
        });
    };
    let up = changes
        .iter()
        .filter(|change| change.by_load)
        .map(|change| change.at)
        .max();
    let down = changes
        .iter()
        .filter(|change| change.less)
        .map(|change| change.at)
        .max();
    // Where it went up in the lab's time, it must have come down in it too, and later.
    if with.reached.is_some() && down < up {
        return Err(Diagnosis::ScaledByHand {
            hpa: name,
            replicas: replicas.to_string(),
        });
    }
    Ok(())
}

/// Whether it has something to go by.
fn measures(hpa: &HorizontalPodAutoscaler, name: &str) -> Result<(), Diagnosis> {
    let conditions = hpa
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut idle = conditions
        .filter(|condition| condition.type_ == "ScalingActive" && condition.status != "True");
    match idle.next() {
        Some(condition) => Err(Diagnosis::HpaNoMetrics {
            hpa: name.to_owned(),
            message: condition.message.clone().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// Whether it aims at what is asked for.
fn aims(with: &With, hpa: &HorizontalPodAutoscaler) -> Result<(), Diagnosis> {
    let metrics = hpa.spec.metrics.as_deref().unwrap_or_default();
    for (metric, expected) in &with.metric_target {
        let found: Vec<_> = metrics
            .iter()
            .filter_map(target)
            .filter(|(name, _)| name == metric)
            .flat_map(|(_, target)| values(target))
            .collect();
        let expected = match expected {
            Value::String(text) => text.clone(),
            other => format!("{other} %"),
        };
        if !found.contains(&expected) {
            return Err(Diagnosis::HpaOtherTarget {
                hpa: with.hpa.clone(),
                metric: metric.clone(),
                expected,
                found: if found.is_empty() {
                    "–".to_owned()
                } else {
                    found.join(", ")
                },
            });
        }
    }
    Ok(())
}

/// The name of a metric and what it is to be.
fn target(metric: &MetricSpec) -> Option<(String, &MetricTarget)> {
    let resource = metric
        .resource
        .as_ref()
        .map(|of| (of.name.clone(), &of.target));
    let container = || {
        metric
            .container_resource
            .as_ref()
            .map(|of| (of.name.clone(), &of.target))
    };
    let pods = || {
        metric
            .pods
            .as_ref()
            .map(|of| (of.metric.name.clone(), &of.target))
    };
    let object = || {
        metric
            .object
            .as_ref()
            .map(|of| (of.metric.name.clone(), &of.target))
    };
    let external = || {
        metric
            .external
            .as_ref()
            .map(|of| (of.metric.name.clone(), &of.target))
    };
    resource
        .or_else(container)
        .or_else(pods)
        .or_else(object)
        .or_else(external)
}

/// `70 %`, or a quantity as it is written.
fn values(target: &MetricTarget) -> Vec<String> {
    let percent = target
        .average_utilization
        .map(|percent| format!("{percent} %"));
    let average = target
        .average_value
        .as_ref()
        .map(|quantity| quantity.0.clone());
    let value = target.value.as_ref().map(|quantity| quantity.0.clone());
    [percent, average, value].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::object;
    use crate::readers::traffic_record::samples::moment;

    const UP: &str = "cpu resource utilization (percentage of request) above target";
    const DOWN: &str = "All metrics below target";
    const MINIMUM: &str = "Current number of replicas below Spec.MinReplicas";

    fn event(size: i32, reason: &str, at: i64) -> Event {
        object(
            json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
            "reason": "SuccessfulRescale", "message": format!("New size: {size}; reason: {reason}"),
            "lastTimestamp": moment(at).to_string(),
            "involvedObject": {"kind": "HorizontalPodAutoscaler", "name": "hello"}}),
        )
    }

    fn hpa(replicas: i32, active: &str) -> HorizontalPodAutoscaler {
        object(
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "hello", "namespace": "default"},
            "spec": {"maxReplicas": 6, "scaleTargetRef": {"kind": "Deployment", "name": "hello"}, "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]},
            "status": {"currentReplicas": replicas, "desiredReplicas": replicas, "conditions": [
                {"type": "ScalingActive", "status": active, "reason": "x", "message": "no metrics"}]}}),
        )
    }

    #[track_caller]
    fn case(expected: Option<&str>, with: Value, hpa: HorizontalPodAutoscaler, events: &[Event]) {
        let mut with = with;
        with["hpa"] = json!("hello");
        let with: With = serde_json::from_value(with).unwrap();
        assert_eq!(with.consistent(), Ok(()));
        let outcome = judge(&with, "default", &[hpa], events, Some(moment(100)));
        assert_eq!(outcome.diagnosis().map(Diagnosis::id), expected, "{with:?}");
    }

    #[test]
    fn scaling_by_load_in_the_labs_time_holds() {
        case(
            None,
            json!({"reached": 4}),
            hpa(6, "True"),
            &[event(6, UP, 120)],
        );
        // It is over already.
        case(
            None,
            json!({"reached": 4}),
            hpa(2, "True"),
            &[event(4, UP, 120), event(2, DOWN, 200)],
        );
        let both = json!({"reached": 4, "now": {"max": 2}});
        case(
            None,
            both,
            hpa(2, "True"),
            &[event(4, UP, 120), event(2, DOWN, 200)],
        );
        case(
            None,
            json!({"now": {"max": 2}, "metricTarget": {"cpu": 70}}),
            hpa(2, "True"),
            &[],
        );
    }

    #[test]
    fn scaling_by_hand_does_not_pass() {
        let reached = || json!({"reached": 4});
        case(Some("scaled-by-hand"), reached(), hpa(6, "True"), &[]);
        // The minimum was raised.
        case(
            Some("scaled-by-hand"),
            reached(),
            hpa(6, "True"),
            &[event(6, MINIMUM, 120)],
        );
        // Load asked for three, somebody for the others.
        case(
            Some("scaled-by-hand"),
            reached(),
            hpa(6, "True"),
            &[event(3, UP, 120)],
        );
        let both = || json!({"reached": 4, "now": {"max": 2}});
        case(
            Some("scaled-by-hand"),
            both(),
            hpa(2, "True"),
            &[event(4, UP, 120)],
        );
        case(
            Some("scaled-by-hand"),
            both(),
            hpa(2, "True"),
            &[event(3, DOWN, 110), event(4, UP, 120)],
        );
    }

    #[test]
    fn what_was_not_reached_or_not_left_again_does_not_pass() {
        case(
            Some("hpa-never-scaled"),
            json!({"reached": 4}),
            hpa(2, "True"),
            &[],
        );
        case(
            Some("hpa-never-scaled"),
            json!({"reached": 4}),
            hpa(3, "True"),
            &[event(3, UP, 120)],
        );
        // Before the lab began.
        case(
            Some("hpa-never-scaled"),
            json!({"reached": 4}),
            hpa(2, "True"),
            &[event(6, UP, 50)],
        );
        case(
            Some("hpa-no-metrics"),
            json!({"reached": 4}),
            hpa(2, "False"),
            &[],
        );
        case(
            Some("hpa-no-metrics"),
            json!({"now": {"max": 2}}),
            hpa(2, "False"),
            &[],
        );
        let both = json!({"reached": 4, "now": {"max": 2}});
        case(
            Some("hpa-not-back"),
            both,
            hpa(4, "True"),
            &[event(4, UP, 120)],
        );
    }

    #[test]
    fn another_target_does_not_pass() {
        case(
            Some("hpa-other-target"),
            json!({"metricTarget": {"cpu": 50}}),
            hpa(2, "True"),
            &[],
        );
        case(
            Some("hpa-other-target"),
            json!({"metricTarget": {"memory": 70}}),
            hpa(2, "True"),
            &[],
        );
        case(
            Some("hpa-other-target"),
            json!({"metricTarget": {"cpu": "70"}}),
            hpa(2, "True"),
            &[],
        );
    }

    #[test]
    fn faults_of_the_author_are_told() {
        let problem = |with: Value| {
            let with: With = serde_json::from_value(with).unwrap();
            with.consistent().unwrap_err()
        };
        assert!(problem(json!({"hpa": "hello"})).contains("nothing"));
        assert!(problem(json!({"hpa": "hello", "reached": 1})).contains("reached"));
        assert!(
            problem(json!({"hpa": "hello", "reached": 4, "now": {"max": 4}})).contains("below")
        );
    }
}
