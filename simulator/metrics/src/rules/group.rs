//! A group of rules and its alerts: what one evaluation makes of it.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use lab_api::monitoring::{ABORT_ROLLOUT, PrometheusRule, Rule, RuleGroup, duration_ms};

use super::template::expand;
use crate::eval::{Answer, Element};
use crate::labels::{Labels, NAME, is_label_name, is_metric_name};
use crate::promql::ast::Expr;
use crate::promql::parse;
use crate::store::{Sample, stale};

/// Most alerts or series of one rule: a query by a label that is always new must not fill the
/// store by its alerts.
const MOST_RESULTS: usize = 1000;

/// A rule, ready to be evaluated.
#[derive(Clone, Debug)]
struct Compiled {
    name: String,
    query: String,
    expr: Result<Expr, String>,
    labels: BTreeMap<String, String>,
    /// Set for alerts.
    alert: Option<Alerting>,
}

#[derive(Clone, Debug)]
struct Alerting {
    hold_ms: i64,
    keep_ms: i64,
    annotations: BTreeMap<String, String>,
    aborts_rollout: bool,
}

/// How far an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlertState {
    /// Wrong, but not for long enough.
    Pending,
    /// Wrong for long enough.
    Firing,
}

impl AlertState {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ActiveAlert {
    pub(crate) labels: Labels,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) state: AlertState,
    pub(crate) active_at: i64,
    pub(crate) value: f64,
    /// Since when it is kept firing though nothing is wrong any more.
    kept_since: Option<i64>,
}

/// What became of an alert.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum News {
    Fired(ActiveAlert),
    Resolved(ActiveAlert),
    /// Fires still, and asks for the rollout that it names to be aborted.
    AbortRollout(ActiveAlert),
}

/// What an evaluation gives.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) samples: Vec<(Labels, Sample)>,
    pub(super) news: Vec<News>,
}

#[derive(Debug)]
struct RuleState {
    rule: Compiled,
    alerts: BTreeMap<Labels, ActiveAlert>,
    /// Series written last time: those that are missing next time have ended.
    written: HashSet<Labels>,
    last_error: Option<String>,
    evaluated: Option<Timestamp>,
}

/// A group with the state of its rules.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) interval_ms: i64,
    rules: Vec<RuleState>,
}

/// A rule as it is told.
#[derive(Clone, Debug)]
pub(crate) struct RuleView {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// For an alerting rule.
    pub(crate) alert: Option<AlertingView>,
    pub(crate) last_error: Option<String>,
    pub(crate) evaluated: Option<Timestamp>,
}

/// What an alerting rule has beyond its query.
#[derive(Clone, Debug)]
pub(crate) struct AlertingView {
    pub(crate) hold_ms: i64,
    pub(crate) keep_ms: i64,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) alerts: Vec<ActiveAlert>,
}

/// A group as it is told.
#[derive(Clone, Debug)]
pub(crate) struct GroupView {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) interval_ms: i64,
    pub(crate) rules: Vec<RuleView>,
}

impl Group {
    /// The groups of an object; `interval_ms` is that of groups that name none. Times are divided
    /// by `speed`.
    pub(super) fn of(object: &PrometheusRule, interval_ms: i64, speed: f64) -> Vec<Self> {
        let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let meta = [&object.metadata.annotations, &object.metadata.labels];
        let aborts = meta.into_iter().flatten().any(asks_to_abort);
        let groups = object.spec.groups.iter();
        groups
            .map(|group| {
                let own = group.interval.as_deref().and_then(duration_ms);
                let own = own
                    .filter(|ms| *ms > 0)
                    .map(|ms| scaled(ms, speed).max(1000));
                let rules = group.rules.iter().map(|rule| RuleState {
                    rule: Compiled::of(rule, group, aborts, speed),
                    alerts: BTreeMap::new(),
                    written: HashSet::new(),
                    last_error: None,
                    evaluated: None,
                });
                Self {
                    file: format!("{namespace}/{name}"),
                    name: group.name.clone(),
                    interval_ms: own.unwrap_or(interval_ms),
                    rules: rules.collect(),
                }
            })
            .collect()
    }

    /// Takes over the alerts of the group as it was before its object changed.
    pub(super) fn inherit(&mut self, before: Self) {
        let mut before = before.rules;
        for state in &mut self.rules {
            let place = before.iter().position(|old| {
                old.rule.name == state.rule.name && old.rule.labels == state.rule.labels
            });
            if let Some(place) = place {
                let old = before.remove(place);
                state.alerts = old.alerts;
                state.written = old.written;
            }
        }
    }

    /// What is wrong with the rules themselves.
    pub(super) fn problems(&self) -> Vec<String> {
        let rules = self.rules.iter();
        rules
            .filter_map(|state| {
                let problem = state.rule.expr.as_ref().err()?;
                Some(format!(
                    "group {:?}, rule {:?}: {problem}",
                    self.name, state.rule.name
                ))
            })
            .collect()
    }

    /// Evaluates every rule in order. Later rules see what earlier ones recorded, so samples go
    /// out through `write` as they come.
    pub(super) fn evaluate(
        &mut self,
        now: Timestamp,
        query: impl Fn(&Expr) -> Result<Answer, String>,
        mut write: impl FnMut(&[(Labels, Sample)]),
    ) -> Vec<News> {
        let mut news = Vec::new();
        for state in &mut self.rules {
            state.evaluated = Some(now);
            let outcome = match &state.rule.expr {
                Ok(expr) => query(expr),
                Err(problem) => Err(problem.clone()),
            };
            let outcome = outcome.and_then(|answer| state.take(answer, now.as_millisecond()));
            match outcome {
                Ok(outcome) => {
                    write(&outcome.samples);
                    news.extend(outcome.news);
                    state.last_error = None;
                }
                Err(problem) => state.last_error = Some(problem),
            }
        }
        news
    }

    /// Ends everything that the group wrote and raised.
    pub(super) fn end(self, now: i64) -> Outcome {
        let mut outcome = Outcome::default();
        for state in self.rules {
            let ended = state
                .written
                .into_iter()
                .map(|labels| (labels, end_at(now)));
            outcome.samples.extend(ended);
            let fired = state.alerts.into_values();
            let fired = fired.filter(|alert| alert.state == AlertState::Firing);
            outcome.news.extend(fired.map(News::Resolved));
        }
        outcome
    }

    /// The group as it is told.
    pub(super) fn view(&self) -> GroupView {
        let rules = self.rules.iter().map(|state| RuleView {
            name: state.rule.name.clone(),
            query: state.rule.query.clone(),
            labels: state.rule.labels.clone(),
            alert: state.rule.alert.as_ref().map(|alert| AlertingView {
                hold_ms: alert.hold_ms,
                keep_ms: alert.keep_ms,
                annotations: alert.annotations.clone(),
                alerts: state.alerts.values().cloned().collect(),
            }),
            last_error: state.last_error.clone(),
            evaluated: state.evaluated,
        });
        GroupView {
            name: self.name.clone(),
            file: self.file.clone(),
            interval_ms: self.interval_ms,
            rules: rules.collect(),
        }
    }
}

fn scaled(ms: i64, speed: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "durations of rules are far below 2^53 ms"
    )]
    let scaled = (ms as f64 / speed).round() as i64;
    scaled
}

fn asks_to_abort(map: &BTreeMap<String, String>) -> bool {
    map.get(ABORT_ROLLOUT).is_some_and(|value| value == "true")
}

impl Compiled {
    fn of(rule: &Rule, group: &RuleGroup, aborts: bool, speed: f64) -> Self {
        let query = rule.query();
        let name = rule.record.clone().or_else(|| rule.alert.clone());
        let name = name.unwrap_or_default();
        let mut labels = group.labels.clone().unwrap_or_default();
        labels.extend(rule.labels.clone().unwrap_or_default());
        let maps = [&rule.annotations, &rule.labels];
        let aborts_rollout = aborts || maps.into_iter().flatten().any(asks_to_abort);
        labels.remove(ABORT_ROLLOUT);
        let wrong = labels.keys().find(|label| !is_label_name(label));
        let expr = match wrong {
            Some(label) => Err(format!("{label:?} is not a label's name")),
            None if rule.record.is_some() && !is_metric_name(&name) => {
                Err(format!("{name:?} is not a metric's name"))
            }
            None => parse(&query).map_err(|error| error.to_string()),
        };
        let ms = |text: &Option<String>| {
            let written = text.as_deref().and_then(duration_ms);
            scaled(written.unwrap_or(0), speed)
        };
        let alert = rule.alert.is_some().then(|| Alerting {
            hold_ms: ms(&rule.for_),
            keep_ms: ms(&rule.keep_firing_for),
            annotations: rule.annotations.clone().unwrap_or_default(),
            aborts_rollout,
        });
        Self {
            name,
            query,
            expr,
            labels,
            alert,
        }
    }
}

impl RuleState {
    fn take(&mut self, answer: Answer, now: i64) -> Result<Outcome, String> {
        let elements = match answer {
            Answer::Scalar(value) => vec![Element {
                labels: Labels::default(),
                value,
            }],
            Answer::Vector(elements) => elements,
            Answer::Text(_) | Answer::Matrix(_) => {
                return Err("rule result is not a vector or scalar".to_owned());
            }
        };
        if elements.len() > MOST_RESULTS {
            return Err(format!(
                "the rule gives {} results, and may give {MOST_RESULTS}: aggregate them",
                elements.len()
            ));
        }
        let mut outcome = match self.rule.alert.clone() {
            Some(alerting) => self.alert(&alerting, elements, now)?,
            None => self.record(elements, now)?,
        };
        let written: HashSet<_> = outcome.samples.iter().map(|(l, _)| l.clone()).collect();
        let ended = self.written.difference(&written).cloned();
        let ended: Vec<_> = ended.map(|labels| (labels, end_at(now))).collect();
        outcome.samples.extend(ended);
        self.written = written;
        Ok(outcome)
    }

    fn record(&self, elements: Vec<Element>, now: i64) -> Result<Outcome, String> {
        let mut outcome = Outcome::default();
        let mut seen = HashSet::new();
        for Element { labels, value } in elements {
            let mut labels = labels.edit();
            labels.set(NAME, self.rule.name.as_str());
            for (name, text) in &self.rule.labels {
                labels.set(name.as_str(), text.as_str());
            }
            let labels = labels.build();
            if !seen.insert(labels.clone()) {
                return Err(
                    "vector contains metrics with the same labelset after applying rule labels"
                        .to_owned(),
                );
            }
            outcome.samples.push((labels, Sample { at: now, value }));
        }
        Ok(outcome)
    }

    fn alert(
        &mut self,
        alerting: &Alerting,
        elements: Vec<Element>,
        now: i64,
    ) -> Result<Outcome, String> {
        let mut wrong = BTreeMap::new();
        for Element { labels, value } in elements {
            let bare = labels.without_name();
            let mut named = bare.edit();
            for (name, text) in &self.rule.labels {
                named.set(name.as_str(), expand(text, value, &bare));
            }
            named.set("alertname", self.rule.name.as_str());
            let annotations = alerting.annotations.iter();
            let annotations: BTreeMap<_, _> = annotations
                .map(|(name, text)| (name.clone(), expand(text, value, &bare)))
                .collect();
            if wrong.insert(named.build(), (value, annotations)).is_some() {
                return Err(
                    "vector contains metrics with the same labelset after applying alert labels"
                        .to_owned(),
                );
            }
        }
        let mut outcome = Outcome::default();
        self.alerts.retain(|labels, alert| {
            if wrong.contains_key(labels) {
                alert.kept_since = None;
                return true;
            }
            let firing = alert.state == AlertState::Firing;
            let kept_since = *alert.kept_since.get_or_insert(now);
            let keeps = firing && alerting.keep_ms > 0 && now - kept_since < alerting.keep_ms;
            if firing && !keeps {
                outcome.news.push(News::Resolved(alert.clone()));
            }
            keeps
        });
        for (labels, (value, annotations)) in wrong {
            let alert = self.alerts.entry(labels.clone()).or_insert(ActiveAlert {
                labels,
                annotations: BTreeMap::new(),
                state: AlertState::Pending,
                active_at: now,
                value,
                kept_since: None,
            });
            alert.value = value;
            alert.annotations = annotations;
            if alert.state == AlertState::Pending && now - alert.active_at >= alerting.hold_ms {
                alert.state = AlertState::Firing;
                outcome.news.push(News::Fired(alert.clone()));
            }
        }
        for alert in self.alerts.values() {
            if alert.state == AlertState::Firing && alerting.aborts_rollout {
                outcome.news.push(News::AbortRollout(alert.clone()));
            }
            outcome.samples.extend(series_of(alert, now));
        }
        Ok(outcome)
    }
}

/// `ALERTS` and `ALERTS_FOR_STATE`.
fn series_of(alert: &ActiveAlert, now: i64) -> [(Labels, Sample); 2] {
    let mut alerts = alert.labels.edit();
    alerts.set(NAME, "ALERTS");
    alerts.set("alertstate", alert.state.as_str());
    let mut since = alert.labels.edit();
    since.set(NAME, "ALERTS_FOR_STATE");
    let sample = |value| Sample { at: now, value };
    let active = crate::eval::seconds(alert.active_at).floor();
    [
        (alerts.build(), sample(1.0)),
        (since.build(), sample(active)),
    ]
}

fn end_at(now: i64) -> Sample {
    Sample {
        at: now,
        value: stale(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn group(rule: &Value) -> Group {
        let object: PrometheusRule = serde_json::from_value(json!({
            "metadata": {"name": "shop", "namespace": "default"},
            "spec": {"groups": [{"name": "g", "rules": [rule]}]}}))
        .unwrap();
        Group::of(&object, 15_000, 1.0).remove(0)
    }

    fn errors(value: f64) -> Answer {
        Answer::Vector(vec![Element {
            labels: Labels::new([(NAME, "errors"), ("pod", "web-1")]),
            value,
        }])
    }

    /// One evaluation at a second: what was written, and the news.
    fn step(group: &mut Group, second: i64, answer: &Answer) -> (Vec<String>, Vec<News>) {
        let now = Timestamp::from_second(1_700_000_000 + second).unwrap();
        let mut written = Vec::new();
        let news = group.evaluate(
            now,
            |_| Ok(answer.clone()),
            |samples| {
                let lines = samples.iter().map(|(labels, sample)| {
                    let end = crate::store::is_stale(sample.value);
                    format!("{labels}{}", if end { " ended" } else { "" })
                });
                written.extend(lines);
            },
        );
        (written, news)
    }

    #[test]
    fn an_alert_is_pending_then_fires_then_is_kept_then_resolved() {
        let mut group = group(
            &json!({"alert": "Errors", "expr": "errors > 1", "for": "30s",
            "keep_firing_for": "20s", "labels": {"severity": "page"},
            "annotations": {"summary": "{{ $labels.pod }} has {{ $value }}"}}),
        );
        let (bad, good) = (errors(7.0), Answer::Vector(Vec::new()));
        let series = |state: &str| {
            format!(
                r#"ALERTS{{alertname="Errors", alertstate="{state}", pod="web-1", severity="page"}}"#
            )
        };

        let (written, news) = step(&mut group, 0, &bad);
        assert!(written.contains(&series("pending")), "{written:?}");
        assert!(news.is_empty());
        let (_, news) = step(&mut group, 15, &bad);
        assert!(news.is_empty());
        let (written, news) = step(&mut group, 30, &bad);
        assert!(written.contains(&series("firing")), "{written:?}");
        assert!(
            written.contains(&format!("{} ended", series("pending"))),
            "{written:?}"
        );
        let [News::Fired(alert)] = news.as_slice() else {
            panic!("{news:?}")
        };
        assert_eq!(alert.annotations["summary"], "web-1 has 7");
        assert_eq!(alert.active_at, 1_700_000_000_000);
        let (written, news) = step(&mut group, 45, &good);
        assert!(written.contains(&series("firing")) && news.is_empty());
        let (written, news) = step(&mut group, 65, &good);
        assert!(matches!(news.as_slice(), [News::Resolved(_)]), "{news:?}");
        assert_eq!(written.len(), 2, "{written:?}");
        assert!(written.iter().all(|line| line.ends_with("ended")));
    }

    #[test]
    fn a_pending_alert_that_passes_is_no_news() {
        let mut group = group(&json!({"alert": "Errors", "expr": "errors > 1", "for": "1m"}));
        step(&mut group, 0, &errors(7.0));
        let (_, news) = step(&mut group, 15, &Answer::Vector(Vec::new()));
        assert!(news.is_empty());
        step(&mut group, 30, &errors(7.0));
        let (_, news) = step(&mut group, 60, &errors(7.0));
        assert!(news.is_empty(), "it began anew: {news:?}");
        let (_, news) = step(&mut group, 90, &errors(7.0));
        assert!(matches!(news.as_slice(), [News::Fired(_)]));
    }

    #[test]
    fn an_alert_that_aborts_rollouts_says_so_as_long_as_it_fires() {
        let mut group = group(&json!({"alert": "Errors", "expr": "errors > 1",
            "labels": {"rollout": "web", "namespace": "default"},
            "annotations": {ABORT_ROLLOUT: "true"}}));
        let (_, news) = step(&mut group, 0, &errors(7.0));
        assert!(
            matches!(news.as_slice(), [News::Fired(_), News::AbortRollout(_)]),
            "{news:?}"
        );
        let (_, news) = step(&mut group, 15, &errors(7.0));
        let [News::AbortRollout(alert)] = news.as_slice() else {
            panic!("{news:?}")
        };
        assert_eq!(alert.labels.get("rollout"), "web");
    }

    #[test]
    fn a_recorded_series_gets_its_name_and_ends_with_its_data() {
        let mut group = group(&json!({"record": "job:errors", "expr": "errors",
            "labels": {"team": "red"}}));
        let (written, _) = step(&mut group, 0, &errors(3.0));
        assert_eq!(written, [r#"job:errors{pod="web-1", team="red"}"#]);
        let (written, _) = step(&mut group, 15, &Answer::Vector(Vec::new()));
        assert_eq!(written, [r#"job:errors{pod="web-1", team="red"} ended"#]);
    }

    #[test]
    fn a_rule_that_is_no_promql_is_told_and_the_others_go_on() {
        let group = group(&json!({"alert": "Errors", "expr": "sum(errors"}));
        let problems = group.problems();
        assert!(
            problems[0].contains("1:11: parse error: unclosed left parenthesis"),
            "{problems:?}"
        );
    }

    #[test]
    fn two_alerts_with_the_same_labels_are_refused() {
        let mut group = group(&json!({"alert": "Errors", "expr": "errors",
            "labels": {"pod": "all"}}));
        let two = Answer::Vector(vec![
            Element {
                labels: Labels::new([("pod", "a")]),
                value: 1.0,
            },
            Element {
                labels: Labels::new([("pod", "b")]),
                value: 1.0,
            },
        ]);
        step(&mut group, 0, &two);
        let said = group.view().rules[0].last_error.clone().unwrap();
        assert!(said.contains("same labelset"), "{said}");
    }
}
