//! From templates and arguments to the spec of an AnalysisRun.

use std::collections::HashSet;

use lab_api::analysis::{
    AnalysisRunSpec, AnalysisTemplateRef, AnalysisTemplateSpec, Argument, DryRun,
    MeasurementRetention, Metric,
};

use super::arguments::{self, ArgumentError};
use super::expr::{Expression, ExpressionError};
use super::metric::{self, MetricError};

/// How many templates one may lead to, so that two that name each other end somewhere.
const TEMPLATES_AT_MOST: usize = 64;

/// What a Rollout's analysis asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// The templates it names.
    pub templates: &'a [AnalysisTemplateRef],
    /// The arguments it gives, their values resolved (or from a Secret).
    pub args: &'a [Argument],
    /// Metrics whose outcome does not count, beyond what the templates say.
    pub dry_run: &'a [DryRun],
    /// How many measurements are kept, beyond what the templates say.
    pub measurement_retention: &'a [MeasurementRetention],
}

/// Why no run can be made; each names the template, metric or argument. Where upstream has a
/// message, it is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A template that is not there.
    #[error("{kind} '{name}' not found")]
    NotFound {
        /// AnalysisTemplate or ClusterAnalysisTemplate.
        kind: &'static str,
        /// Name.
        name: String,
    },
    /// A reference without a name.
    #[error("templates[{0}]: templateName is missing")]
    Unnamed(usize),
    /// Templates that lead to each other, or to far too many.
    #[error("the templates lead to more than {TEMPLATES_AT_MOST} others: does one name itself?")]
    TooMany,
    /// Two metrics of one name.
    #[error("two metrics have the same name '{0}'")]
    SameMetric(String),
    /// Templates that disagree about an argument's default.
    #[error("Argument `{name}` specified multiple times with different values: '{one}', '{other}'")]
    SameArgument {
        /// Name of the argument.
        name: String,
        /// First value.
        one: String,
        /// Second value.
        other: String,
    },
    /// An argument that nobody gave a value.
    #[error("args.{0} was not resolved")]
    Unresolved(String),
    /// Templates without a metric.
    #[error("no metrics specified")]
    NoMetrics,
    /// A metric that is not valid.
    #[error("metrics[{index}]: {reason}")]
    Metric {
        /// Which one.
        index: usize,
        /// Why.
        reason: MetricProblem,
    },
    /// A rule of `dryRun` or `measurementRetention` that matches no metric.
    #[error("{field}[{index}]: Rule didn't match any metric name(s)")]
    NoMatch {
        /// `dryRun` or `measurementRetention`.
        field: &'static str,
        /// Which rule.
        index: usize,
    },
    /// A rule of `dryRun` or `measurementRetention` that is no regular expression.
    #[error("{field}[{index}]: {rule:?} is no regular expression")]
    NoPattern {
        /// `dryRun` or `measurementRetention`.
        field: &'static str,
        /// Which rule.
        index: usize,
        /// What it says.
        rule: String,
    },
}

/// What is wrong with one metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricProblem {
    /// Its name is taken.
    #[error("duplicate name '{0}'")]
    Duplicate(String),
    /// Its numbers, durations or provider.
    #[error("{0}")]
    Metric(MetricError),
    /// Its arguments.
    #[error("{0}")]
    Arguments(String),
    /// A condition that cannot be read.
    #[error("{field}: {error}")]
    Condition {
        /// `successCondition` or `failureCondition`.
        field: &'static str,
        /// What is wrong with it, and where.
        error: ExpressionError,
    },
}

/// The spec of a run of the templates that `request` names; `find` looks a template up, in the
/// Rollout's namespace or in the cluster.
///
/// # Errors
/// Naming what is missing or wrong: a Rollout shows it as InvalidSpec.
pub fn instantiate(
    request: &Request<'_>,
    find: impl Fn(&AnalysisTemplateRef) -> Option<AnalysisTemplateSpec>,
) -> Result<AnalysisRunSpec, TemplateError> {
    let templates = collect(request.templates, &find)?;
    let metrics = metrics(&templates)?;
    let args = merge_arguments(request.args, declared_arguments(&templates)?)?;
    let dry_run = templates
        .iter()
        .flat_map(|template| template.dry_run.iter().flatten());
    let retention = templates
        .iter()
        .flat_map(|template| template.measurement_retention.iter().flatten());
    let spec = AnalysisRunSpec {
        metrics,
        args: some(args),
        terminate: None,
        dry_run: some(request.dry_run.iter().chain(dry_run).cloned().collect()),
        measurement_retention: some(
            request
                .measurement_retention
                .iter()
                .chain(retention)
                .cloned()
                .collect(),
        ),
        ttl_strategy: None,
    };
    validate(&spec)?;
    Ok(spec)
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// The named templates and those that they name, each once.
fn collect(
    wanted: &[AnalysisTemplateRef],
    find: impl Fn(&AnalysisTemplateRef) -> Option<AnalysisTemplateSpec>,
) -> Result<Vec<AnalysisTemplateSpec>, TemplateError> {
    let mut waiting: Vec<AnalysisTemplateRef> = wanted.to_vec();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < waiting.len() {
        if at >= TEMPLATES_AT_MOST {
            return Err(TemplateError::TooMany);
        }
        let reference = waiting[at].clone();
        at += 1;
        let cluster = reference.cluster_scope.unwrap_or(false);
        let Some(name) = reference.template_name.clone() else {
            return Err(TemplateError::Unnamed(at - 1));
        };
        let named = at <= wanted.len();
        // A Rollout that names a template twice has a metric twice; nested ones meet freely.
        if !seen.insert((cluster, name.clone())) && !named {
            continue;
        }
        let Some(template) = find(&reference) else {
            let kind = if cluster {
                "ClusterAnalysisTemplate"
            } else {
                "AnalysisTemplate"
            };
            return Err(TemplateError::NotFound { kind, name });
        };
        waiting.extend(template.templates.iter().flatten().cloned());
        found.push(template);
    }
    Ok(found)
}

fn metrics(templates: &[AnalysisTemplateSpec]) -> Result<Vec<Metric>, TemplateError> {
    let metrics: Vec<Metric> = templates
        .iter()
        .flat_map(|template| template.metrics.iter().flatten())
        .cloned()
        .collect();
    let mut names = HashSet::new();
    match metrics
        .iter()
        .find(|metric| !names.insert(metric.name.as_str()))
    {
        Some(twice) => Err(TemplateError::SameMetric(twice.name.clone())),
        None => Ok(metrics),
    }
}

/// The arguments of all templates; a value wins over none.
fn declared_arguments(templates: &[AnalysisTemplateSpec]) -> Result<Vec<Argument>, TemplateError> {
    let mut all: Vec<Argument> = Vec::new();
    let declared = templates
        .iter()
        .flat_map(|template| template.args.iter().flatten());
    for arg in declared {
        let Some(earlier) = all.iter_mut().find(|earlier| earlier.name == arg.name) else {
            all.push(arg.clone());
            continue;
        };
        match (&earlier.value, &arg.value) {
            (Some(one), Some(other)) if one != other => {
                return Err(TemplateError::SameArgument {
                    name: arg.name.clone(),
                    one: one.clone(),
                    other: other.clone(),
                });
            }
            (Some(_), _) => {}
            (None, _) => *earlier = arg.clone(),
        }
    }
    Ok(all)
}

/// The declared arguments with the values given; every one must end up with a value.
fn merge_arguments(
    given: &[Argument],
    mut declared: Vec<Argument>,
) -> Result<Vec<Argument>, TemplateError> {
    for arg in given {
        if let Some(known) = declared.iter_mut().find(|known| known.name == arg.name) {
            if arg.value.is_some() {
                known.value.clone_from(&arg.value);
                known.value_from = None;
            } else if arg.value_from.is_some() {
                known.value_from.clone_from(&arg.value_from);
                known.value = None;
            }
        }
    }
    let unresolved = |arg: &&Argument| arg.value.is_none() && arg.value_from.is_none();
    match declared.iter().find(unresolved) {
        Some(arg) => Err(TemplateError::Unresolved(arg.name.clone())),
        None => Ok(declared),
    }
}

/// Everything that can be known to be wrong before the first measurement.
pub(super) fn validate(spec: &AnalysisRunSpec) -> Result<(), TemplateError> {
    if spec.metrics.is_empty() {
        return Err(TemplateError::NoMetrics);
    }
    let args = known_arguments(spec.args.as_deref().unwrap_or_default());
    let mut names = HashSet::new();
    for (index, metric) in spec.metrics.iter().enumerate() {
        let problem = |reason| TemplateError::Metric { index, reason };
        if !names.insert(metric.name.as_str()) {
            return Err(problem(MetricProblem::Duplicate(metric.name.clone())));
        }
        let metric = arguments::resolve(metric, &args)
            .map_err(|error: ArgumentError| problem(MetricProblem::Arguments(error.to_string())))?;
        metric::schedule(&metric)
            .and_then(|_| metric::check_provider(&metric.provider))
            .map_err(|error| problem(MetricProblem::Metric(error)))?;
        check_conditions(&metric).map_err(problem)?;
    }
    check_rules(spec)
}

fn check_conditions(metric: &Metric) -> Result<(), MetricProblem> {
    let conditions = [
        ("successCondition", &metric.success_condition),
        ("failureCondition", &metric.failure_condition),
    ];
    for (field, condition) in conditions {
        let text = condition.as_deref().filter(|text| !text.is_empty());
        if let Some(Err(error)) = text.map(Expression::parse) {
            return Err(MetricProblem::Condition { field, error });
        }
    }
    Ok(())
}

/// Every rule of `dryRun` and `measurementRetention` must be about a metric.
fn check_rules(spec: &AnalysisRunSpec) -> Result<(), TemplateError> {
    let dry_run = spec.dry_run.iter().flatten().map(|it| &it.metric_name);
    let retention = spec.measurement_retention.iter().flatten();
    let retention = retention.map(|it| &it.metric_name);
    check_names("dryRun", dry_run, &spec.metrics)?;
    check_names("measurementRetention", retention, &spec.metrics)
}

fn check_names<'a>(
    field: &'static str,
    rules: impl Iterator<Item = &'a String>,
    metrics: &[Metric],
) -> Result<(), TemplateError> {
    for (index, rule) in rules.enumerate() {
        let matched = metric::rule_matches(rule).map_err(|_| TemplateError::NoPattern {
            field,
            index,
            rule: rule.clone(),
        })?;
        if !metrics.iter().any(|metric| matched(&metric.name)) {
            return Err(TemplateError::NoMatch { field, index });
        }
    }
    Ok(())
}

/// The arguments, with a number in the place of what only the run will know: a condition or a
/// count can be read with it, and a query is read by nobody.
fn known_arguments(args: &[Argument]) -> Vec<Argument> {
    let mut args = args.to_vec();
    for arg in &mut args {
        if arg.value.is_none() && arg.value_from.is_some() {
            arg.value = Some("1".to_owned());
        }
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn library(reference: &AnalysisTemplateRef) -> Option<AnalysisTemplateSpec> {
        let cluster = reference.cluster_scope == Some(true);
        let metric = |name: &str| {
            json!({"name": name, "interval": "1m", "successCondition": "result[0] < {{args.limit}}",
                "provider": {"prometheus": {"address": "http://p:9090", "query": "errors{service=\"{{args.service}}\"}"}}})
        };
        let spec = match (cluster, reference.template_name.as_deref()?) {
            (false, "errors") => json!({
                "args": [{"name": "service"}, {"name": "limit", "value": "0.05"}],
                "metrics": [metric("errors")]}),
            (false, "strict") => json!({
                "args": [{"name": "service"}, {"name": "limit", "value": "0.01"}],
                "metrics": [metric("strict")]}),
            (false, "both") => json!({"templates": [
                {"templateName": "errors"}, {"templateName": "latency", "clusterScope": true}]}),
            (false, "loop") => {
                json!({"templates": [{"templateName": "loop"}, {"templateName": "errors"}]})
            }
            (false, "secret") => json!({
                "args": [{"name": "token", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "metrics": [{"name": "m", "provider": {"web": {"url": "http://shop/", "headers": [
                    {"key": "Authorization", "value": "Bearer {{args.token}}"}]}}}]}),
            (false, "empty") => json!({}),
            (false, "undeclared") => json!({"metrics": [metric("errors")]}),
            (true, "latency") => json!({
                "args": [{"name": "service"}],
                "dryRun": [{"metricName": "latency"}],
                "metrics": [{"name": "latency", "provider": {"web": {"url": "http://{{args.service}}/"}}}]}),
            _ => return None,
        };
        serde_json::from_value(spec).ok()
    }

    fn make(templates: Value, args: Value) -> Result<Value, String> {
        let templates: Vec<AnalysisTemplateRef> = serde_json::from_value(templates).unwrap();
        let args: Vec<Argument> = serde_json::from_value(args).unwrap();
        let request = Request {
            templates: &templates,
            args: &args,
            ..Request::default()
        };
        instantiate(&request, library)
            .map(|spec| serde_json::to_value(spec).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_of_the_rollout_win_over_the_template() {
        let spec = make(
            json!([{"templateName": "errors"}]),
            json!([{"name": "service", "value": "shop-canary"}, {"name": "limit", "value": "0.1"}, {"name": "unasked", "value": "x"}]),
        )
        .unwrap();
        assert_eq!(
            spec["args"],
            json!([{"name": "service", "value": "shop-canary"}, {"name": "limit", "value": "0.1"}])
        );
        // The run resolves its arguments itself, when it measures.
        assert_eq!(
            spec["metrics"][0]["successCondition"],
            "result[0] < {{args.limit}}"
        );
    }

    #[test]
    fn templates_bring_the_templates_they_name() {
        let spec = make(
            json!([{"templateName": "both"}]),
            json!([{"name": "service", "value": "shop"}]),
        )
        .unwrap();
        let names: Vec<_> = spec["metrics"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| &m["name"])
            .collect();
        assert_eq!(names, ["errors", "latency"]);
        assert_eq!(spec["dryRun"], json!([{"metricName": "latency"}]));
        let looping = make(
            json!([{"templateName": "loop"}]),
            json!([{"name": "service", "value": "shop"}]),
        );
        assert_eq!(looping.unwrap()["metrics"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn an_argument_from_a_secret_is_left_to_the_run() {
        let spec = make(json!([{"templateName": "secret"}]), json!([])).unwrap();
        assert_eq!(spec["args"][0]["valueFrom"]["secretKeyRef"]["name"], "s");
    }

    #[track_caller]
    fn refused(templates: Value, args: Value, expected: &str) {
        assert_eq!(make(templates, args), Err(expected.to_owned()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let service = json!([{"name": "service", "value": "shop"}]);
        refused(
            json!([{"templateName": "nobody"}]),
            json!([]),
            "AnalysisTemplate 'nobody' not found",
        );
        refused(
            json!([{"templateName": "errors", "clusterScope": true}]),
            json!([]),
            "ClusterAnalysisTemplate 'errors' not found",
        );
        refused(
            json!([{"templateName": "errors"}]),
            json!([]),
            "args.service was not resolved",
        );
        refused(
            json!([{"templateName": "errors"}, {"templateName": "errors"}]),
            service.clone(),
            "two metrics have the same name 'errors'",
        );
        refused(
            json!([{"templateName": "errors"}, {"templateName": "strict"}]),
            service.clone(),
            "Argument `limit` specified multiple times with different values: '0.05', '0.01'",
        );
        refused(
            json!([{"templateName": "empty"}]),
            json!([]),
            "no metrics specified",
        );
        refused(
            json!([{"templateName": "undeclared"}]),
            service,
            "metrics[0]: failed to resolve {{args.limit}}",
        );
    }
}
