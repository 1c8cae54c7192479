//! What is wrong with a Rollout, in the words of condition InvalidSpec: what upstream refuses,
//! and what this product does not support. Nothing is ignored.
//!
//! <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::rollouts::{
    BlueGreenStrategy, CanaryStep, CanaryStrategy, GATEWAY_PLUGIN, GatewayPlugin, HeaderMatch,
    Rollout, RolloutAnalysis, RolloutSpec, TrafficRouting,
};
use lab_api::selector::Selector;
use serde_json::Value;

use super::pass::Pass;
use super::spec;

/// The first thing wrong with a Rollout, as upstream's condition has it.
pub(super) fn problem(pass: &Pass) -> Option<String> {
    let name = pass.rollout.metadata.name.as_deref().unwrap_or_default();
    let problem = check_spec(&pass.rollout)
        .and_then(|()| check_services(pass))
        .and_then(|()| check_templates(pass))
        .err()?;
    Some(format!("The Rollout \"{name}\" is invalid: {problem}"))
}

type Check = Result<(), String>;

fn invalid(path: &str, value: impl std::fmt::Display, why: &str) -> Check {
    Err(format!("{path}: Invalid value: {value}: {why}"))
}

fn required(path: &str, why: &str) -> Check {
    Err(format!("{path}: Required value: {why}"))
}

/// Refuses a field of upstream's that is not supported here.
fn unsupported(path: &str, name: &str, value: Option<&Value>) -> Check {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(format!(
            "{path}.{name}: Forbidden: {name} is not supported by this cluster"
        )),
    }
}

fn check_spec(rollout: &Rollout) -> Check {
    let spec = &rollout.spec;
    unsupported("spec", "workloadRef", spec.workload_ref.as_ref())?;
    let Some(selector) = &spec.selector else {
        return required(
            "spec.selector",
            "Rollout has missing field '.spec.selector'",
        );
    };
    let Some(template) = &spec.template else {
        return required(
            "spec.template",
            "Rollout has missing field '.spec.template'",
        );
    };
    let selector = Selector::from_label_selector(selector);
    if selector.is_empty() {
        let why = "This rollout is selecting all pods. A non-empty selector is required.";
        return required("spec.selector", why);
    }
    let labels = template
        .metadata
        .as_ref()
        .and_then(|meta| meta.labels.clone());
    if !selector.matches(&labels.unwrap_or_default()) {
        let why = "`selector` does not match template `labels`";
        return invalid("spec.template.metadata.labels", "labels", why);
    }
    check_numbers(spec)?;
    let strategy = spec.strategy.clone().unwrap_or_default();
    match (&strategy.blue_green, &strategy.canary) {
        (None, None) => required(
            "spec.strategy.strategy",
            "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'",
        ),
        (Some(_), Some(_)) => invalid(
            "spec.strategy",
            "blueGreen, canary",
            "Multiple Strategies can not be listed",
        ),
        (Some(blue_green), None) => check_blue_green(spec, blue_green),
        (None, Some(canary)) => check_canary(spec, canary),
    }
}

fn check_numbers(spec: &RolloutSpec) -> Check {
    let numbers = [
        ("replicas", spec.replicas),
        ("minReadySeconds", spec.min_ready_seconds),
        ("revisionHistoryLimit", spec.revision_history_limit),
        ("progressDeadlineSeconds", spec.progress_deadline_seconds),
    ];
    for (name, number) in numbers {
        not_negative(&format!("spec.{name}"), number)?;
    }
    let deadline = spec::progress_deadline(spec).as_secs();
    let ready = u64::try_from(spec.min_ready_seconds.unwrap_or(0)).unwrap_or(0);
    if deadline <= ready {
        let why = "must be greater than minReadySeconds";
        return invalid("spec.progressDeadlineSeconds", deadline, why);
    }
    Ok(())
}

fn not_negative(path: &str, number: Option<i32>) -> Check {
    match number {
        Some(number) if number < 0 => invalid(path, number, "must be greater than or equal to 0"),
        Some(_) | None => Ok(()),
    }
}

fn check_revision_limit(spec: &RolloutSpec, path: &str, limit: Option<i32>) -> Check {
    let path = format!("{path}.scaleDownDelayRevisionLimit");
    not_negative(&path, limit)?;
    let history = spec::revision_history_limit(spec);
    match limit {
        Some(limit) if usize::try_from(limit).is_ok_and(|limit| limit > history) => {
            let why = "This rollout's revisionHistoryLimit can not be smaller than the rollout's scaleDownDelayRevisionLimit value";
            invalid(&path, limit, why)
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks a number or percentage; answers whether it is 0.
fn check_share(path: &str, share: Option<&IntOrString>) -> Result<bool, String> {
    match share {
        None => Ok(false),
        Some(IntOrString::Int(number)) => {
            not_negative(path, Some(*number))?;
            Ok(*number == 0)
        }
        Some(IntOrString::String(text)) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if !numeric {
                let why = "must be a number or a percentage, such as 25%";
                invalid(path, format!("{text:?}"), why)?;
            }
            Ok(digits.trim_start_matches('0').is_empty())
        }
    }
}

fn check_blue_green(spec: &RolloutSpec, strategy: &BlueGreenStrategy) -> Check {
    let path = "spec.strategy.blueGreen";
    unsupported(path, "previewMetadata", strategy.preview_metadata.as_ref())?;
    unsupported(path, "activeMetadata", strategy.active_metadata.as_ref())?;
    unsupported(path, "antiAffinity", strategy.anti_affinity.as_ref())?;
    let active = strategy.active_service.as_deref().unwrap_or_default();
    if active.is_empty() {
        let why = "Rollout has missing field '.spec.strategy.blueGreen.activeService'";
        return required(&format!("{path}.activeService"), why);
    }
    if strategy.preview_service.as_deref() == Some(active) {
        let why = "This rollout uses the same service for the active and preview services, but two different services are required.";
        return invalid(&format!("{path}.activeService"), format!("{active:?}"), why);
    }
    check_share(
        &format!("{path}.maxUnavailable"),
        strategy.max_unavailable.as_ref(),
    )?;
    let numbers = [
        ("previewReplicaCount", strategy.preview_replica_count),
        ("autoPromotionSeconds", strategy.auto_promotion_seconds),
        ("scaleDownDelaySeconds", strategy.scale_down_delay_seconds),
        (
            "abortScaleDownDelaySeconds",
            strategy.abort_scale_down_delay_seconds,
        ),
    ];
    for (name, number) in numbers {
        not_negative(&format!("{path}.{name}"), number)?;
    }
    check_revision_limit(spec, path, strategy.scale_down_delay_revision_limit)?;
    check_analysis(
        &format!("{path}.prePromotionAnalysis"),
        strategy.pre_promotion_analysis.as_ref(),
        false,
    )?;
    check_analysis(
        &format!("{path}.postPromotionAnalysis"),
        strategy.post_promotion_analysis.as_ref(),
        false,
    )
}

fn check_canary(spec: &RolloutSpec, strategy: &CanaryStrategy) -> Check {
    let path = "spec.strategy.canary";
    unsupported(path, "canaryMetadata", strategy.canary_metadata.as_ref())?;
    unsupported(path, "stableMetadata", strategy.stable_metadata.as_ref())?;
    unsupported(path, "antiAffinity", strategy.anti_affinity.as_ref())?;
    unsupported(path, "pingPong", strategy.ping_pong.as_ref())?;
    unsupported(
        path,
        "replicaProgressThreshold",
        strategy.replica_progress_threshold.as_ref(),
    )?;
    let canary = strategy.canary_service.as_deref().unwrap_or_default();
    let stable = strategy.stable_service.as_deref().unwrap_or_default();
    if !canary.is_empty() && canary == stable {
        let why = "This rollout uses the same service for the stable and canary services, but two different services are required.";
        return invalid(&format!("{path}.stableService"), format!("{stable:?}"), why);
    }
    let no_surge = check_share(&format!("{path}.maxSurge"), strategy.max_surge.as_ref())?;
    let unavailable = format!("{path}.maxUnavailable");
    if check_share(&unavailable, strategy.max_unavailable.as_ref())? && no_surge {
        let why = "MaxSurge and MaxUnavailable both can not be zero";
        return invalid(&format!("{path}.maxSurge"), 0, why);
    }
    match &strategy.traffic_routing {
        Some(routing) => check_routing(path, strategy, routing, (canary, stable))?,
        None => check_unrouted(path, strategy)?,
    }
    not_negative(
        &format!("{path}.scaleDownDelaySeconds"),
        strategy.scale_down_delay_seconds,
    )?;
    let abort_delay = format!("{path}.abortScaleDownDelaySeconds");
    not_negative(&abort_delay, strategy.abort_scale_down_delay_seconds)?;
    check_revision_limit(spec, path, strategy.scale_down_delay_revision_limit)?;
    check_analysis(
        &format!("{path}.analysis"),
        strategy.analysis.as_ref(),
        true,
    )?;
    for (index, step) in strategy.steps.iter().flatten().enumerate() {
        check_step(&format!("{path}.steps[{index}]"), spec, strategy, step)?;
    }
    Ok(())
}

/// Refuses what makes sense with a router only.
fn check_unrouted(path: &str, strategy: &CanaryStrategy) -> Check {
    if let Some(delay) = strategy.scale_down_delay_seconds {
        let why = "Canary scaleDownDelaySeconds can only be used with traffic routing";
        return invalid(&format!("{path}.scaleDownDelaySeconds"), delay, why);
    }
    if let Some(delay) = strategy.abort_scale_down_delay_seconds {
        let why = "Canary abortScaleDownDelaySeconds can only be used with traffic routing";
        return invalid(&format!("{path}.abortScaleDownDelaySeconds"), delay, why);
    }
    if strategy.dynamic_stable_scale == Some(true) {
        let why = "Canary dynamicStableScale can only be used with traffic routing";
        return invalid(&format!("{path}.dynamicStableScale"), true, why);
    }
    if let Some(least) = strategy.min_pods_per_replica_set {
        let why = "Canary minPodsPerReplicaSet can only be used with traffic routing";
        return invalid(&format!("{path}.minPodsPerReplicaSet"), least, why);
    }
    Ok(())
}

fn check_routing(
    path: &str,
    strategy: &CanaryStrategy,
    routing: &TrafficRouting,
    (canary, stable): (&str, &str),
) -> Check {
    let place = format!("{path}.trafficRouting");
    let others = [
        ("istio", &routing.istio),
        ("nginx", &routing.nginx),
        ("alb", &routing.alb),
        ("smi", &routing.smi),
        ("ambassador", &routing.ambassador),
        ("appMesh", &routing.app_mesh),
        ("traefik", &routing.traefik),
        ("apisix", &routing.apisix),
    ];
    for (name, value) in others {
        unsupported(&place, name, value.as_ref())?;
    }
    if let Some(max) = routing.max_traffic_weight.filter(|max| *max < 1) {
        let why = "must be greater than 0";
        return invalid(&format!("{place}.maxTrafficWeight"), max, why);
    }
    if canary.is_empty() {
        let why = "Traffic routing requires a canary service";
        return required(&format!("{path}.canaryService"), why);
    }
    if stable.is_empty() {
        let why = "Traffic routing requires a stable service";
        return required(&format!("{path}.stableService"), why);
    }
    if strategy.dynamic_stable_scale == Some(true) && strategy.scale_down_delay_seconds.is_some() {
        let why = "Canary dynamicStableScale can not be used with scaleDownDelaySeconds";
        return invalid(&format!("{path}.dynamicStableScale"), true, why);
    }
    let mut names = Vec::new();
    for (index, route) in routing.managed_routes.iter().flatten().enumerate() {
        let name = route.name.as_deref().unwrap_or_default();
        let field = format!("{place}.managedRoutes[{index}].name");
        if name.is_empty() {
            return required(&field, "a managed route needs a name");
        }
        if names.contains(&name) {
            return invalid(&field, format!("{name:?}"), "the name is used twice");
        }
        names.push(name);
    }
    check_plugins(&place, routing)
}

fn check_plugins(place: &str, routing: &TrafficRouting) -> Check {
    let plugins = routing.plugins.clone().unwrap_or_default();
    if let Some(name) = plugins.keys().find(|name| *name != GATEWAY_PLUGIN) {
        return Err(format!(
            "{place}.plugins[{name}]: Forbidden: the only traffic router of this cluster is {GATEWAY_PLUGIN}"
        ));
    }
    let Some(config) = plugins.get(GATEWAY_PLUGIN) else {
        return required(
            &format!("{place}.plugins"),
            &format!("the traffic router of this cluster is {GATEWAY_PLUGIN}"),
        );
    };
    let place = format!("{place}.plugins[{GATEWAY_PLUGIN}]");
    for key in config
        .as_object()
        .into_iter()
        .flat_map(|config| config.keys())
    {
        if !PLUGIN_FIELDS.contains(&key.as_str()) {
            return Err(format!(
                "{place}.{key}: Forbidden: {key} is not supported by this cluster"
            ));
        }
    }
    let plugin: GatewayPlugin = serde_json::from_value(config.clone())
        .map_err(|error| format!("{place}: Invalid value: {error}"))?;
    let lists = [
        ("httpRoutes", &plugin.http_routes),
        ("grpcRoutes", &plugin.grpc_routes),
    ];
    for (name, routes) in lists {
        for (index, route) in routes.iter().flatten().enumerate() {
            if route.name.as_deref().unwrap_or_default().is_empty() {
                return required(
                    &format!("{place}.{name}[{index}].name"),
                    "the name of a route",
                );
            }
        }
    }
    let some = |list: &Option<Vec<_>>| list.iter().flatten().next().is_some();
    let one = plugin.http_route.is_some() || plugin.grpc_route.is_some();
    if !one && !some(&plugin.http_routes) && !some(&plugin.grpc_routes) {
        return required(
            &format!("{place}.httpRoute"),
            "the plugin needs at least one route",
        );
    }
    Ok(())
}

const PLUGIN_FIELDS: [&str; 8] = [
    "namespace",
    "httpRoute",
    "httpRoutes",
    "grpcRoute",
    "grpcRoutes",
    "disableInProgressLabel",
    "inProgressLabelKey",
    "inProgressLabelValue",
];

fn check_step(
    path: &str,
    spec: &RolloutSpec,
    strategy: &CanaryStrategy,
    step: &CanaryStep,
) -> Check {
    unsupported(path, "experiment", step.experiment.as_ref())?;
    unsupported(path, "setMirrorRoute", step.set_mirror_route.as_ref())?;
    unsupported(path, "plugin", step.plugin.as_ref())?;
    unsupported(
        path,
        "replicaProgressThreshold",
        step.replica_progress_threshold.as_ref(),
    )?;
    let kinds = [
        step.set_weight.is_some(),
        step.pause.is_some(),
        step.analysis.is_some(),
        step.set_canary_scale.is_some(),
        step.set_header_route.is_some(),
    ];
    if kinds.iter().filter(|kind| **kind).count() != 1 {
        let why = "Step must have one of the following set: setWeight, pause, analysis, setCanaryScale or setHeaderRoute";
        return invalid(path, "step", why);
    }
    let max = spec::max_weight(spec);
    if let Some(weight) = step.set_weight.filter(|weight| !(0..=max).contains(weight)) {
        let why = format!("SetWeight needs to be between 0 and {max}");
        return invalid(&format!("{path}.setWeight"), weight, &why);
    }
    if let Some(duration) = step
        .pause
        .as_ref()
        .and_then(|pause| pause.duration.as_ref())
        && spec::duration(duration).is_none()
    {
        let text = match duration {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(text) => format!("{text:?}"),
        };
        let why =
            "Duration must be a number of seconds of at least 0, or a text such as 30, 5m or 1h";
        return invalid(&format!("{path}.pause.duration"), text, why);
    }
    check_analysis(&format!("{path}.analysis"), step.analysis.as_ref(), false)?;
    check_scale(path, strategy, step)?;
    check_header_route(path, strategy, step)
}

fn check_scale(path: &str, strategy: &CanaryStrategy, step: &CanaryStep) -> Check {
    let Some(scale) = &step.set_canary_scale else {
        return Ok(());
    };
    let path = format!("{path}.setCanaryScale");
    if strategy.traffic_routing.is_none() {
        let why = "SetCanaryScale requires TrafficRouting to be set";
        return invalid(&path, "setCanaryScale", why);
    }
    let set = [
        scale.weight.is_some(),
        scale.replicas.is_some(),
        scale.match_traffic_weight == Some(true),
    ];
    if set.iter().filter(|field| **field).count() != 1 {
        let why = "one of weight, replicas or matchTrafficWeight must be set";
        return invalid(&path, "setCanaryScale", why);
    }
    if let Some(weight) = scale.weight.filter(|weight| !(0..=100).contains(weight)) {
        let why = "must be between 0 and 100";
        return invalid(&format!("{path}.weight"), weight, why);
    }
    not_negative(&format!("{path}.replicas"), scale.replicas)
}

fn check_header_route(path: &str, strategy: &CanaryStrategy, step: &CanaryStep) -> Check {
    let Some(route) = &step.set_header_route else {
        return Ok(());
    };
    let path = format!("{path}.setHeaderRoute");
    let Some(routing) = &strategy.traffic_routing else {
        let why = "SetHeaderRoute requires TrafficRouting to be set";
        return invalid(&path, "setHeaderRoute", why);
    };
    let name = route.name.as_deref().unwrap_or_default();
    let is_managed = routing
        .managed_routes
        .iter()
        .flatten()
        .any(|managed| managed.name.as_deref() == Some(name));
    if name.is_empty() || !is_managed {
        let why = "the name must be one of trafficRouting.managedRoutes";
        return invalid(&format!("{path}.name"), format!("{name:?}"), why);
    }
    for (index, header) in route.r#match.iter().flatten().enumerate() {
        check_header(&format!("{path}.match[{index}]"), header)?;
    }
    Ok(())
}

fn check_header(path: &str, header: &HeaderMatch) -> Check {
    if header.header_name.as_deref().unwrap_or_default().is_empty() {
        return required(&format!("{path}.headerName"), "the name of a header");
    }
    let value = header.header_value.clone().unwrap_or_default();
    let set = [
        value.exact.is_some(),
        value.prefix.is_some(),
        value.regex.is_some(),
    ];
    if set.iter().filter(|field| **field).count() != 1 {
        let why = "one of exact, regex or prefix must be set";
        return invalid(&format!("{path}.headerValue"), "headerValue", why);
    }
    Ok(())
}

fn check_analysis(path: &str, analysis: Option<&RolloutAnalysis>, is_background: bool) -> Check {
    let Some(analysis) = analysis else {
        return Ok(());
    };
    if analysis.starting_step.is_some() && !is_background {
        return Err(format!(
            "{path}.startingStep: Forbidden: only the analysis beside the steps begins at one"
        ));
    }
    for (index, template) in analysis.templates.iter().flatten().enumerate() {
        if template
            .template_name
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return required(
                &format!("{path}.templates[{index}].templateName"),
                "the name of a template",
            );
        }
    }
    for (index, arg) in analysis.args.iter().flatten().enumerate() {
        let Some(from) = &arg.value_from else {
            continue;
        };
        let hash = from.pod_template_hash_value.as_deref();
        if let Some(hash) = hash.filter(|hash| !["Stable", "Latest"].contains(hash)) {
            let field = format!("{path}.args[{index}].valueFrom.podTemplateHashValue");
            return invalid(&field, format!("{hash:?}"), "must be Stable or Latest");
        }
    }
    Ok(())
}

/// Services that are named must exist, and be nobody else's.
fn check_services(pass: &Pass) -> Check {
    let own = pass.rollout.metadata.name.as_deref().unwrap_or_default();
    for (path, name) in named_services(&pass.rollout.spec) {
        let quoted = format!("{name:?}");
        match pass.services.get(&name) {
            None => return invalid(path, &quoted, &format!("service {quoted} not found")),
            Some(service) => {
                let other = service.managed_by.as_deref().filter(|by| *by != own);
                if let Some(other) = other {
                    let why = format!("Service {quoted} is managed by another Rollout, {other:?}");
                    return invalid(path, &quoted, &why);
                }
            }
        }
    }
    Ok(())
}

/// Templates that are named must exist, and make a run with the arguments given.
fn check_templates(pass: &Pass) -> Check {
    for (path, analysis) in analyses(&pass.rollout.spec) {
        if let Err(problem) = super::analysis::instance(pass, analysis) {
            return invalid(&format!("{path}.templates"), "templates", &problem);
        }
    }
    Ok(())
}

/// Every analysis that a Rollout asks for, with its path.
pub(super) fn analyses(spec: &RolloutSpec) -> Vec<(String, &RolloutAnalysis)> {
    let mut all: Vec<(String, Option<&RolloutAnalysis>)> = Vec::new();
    if let Some(blue_green) = spec::blue_green(spec) {
        let path = "spec.strategy.blueGreen";
        let before = blue_green.pre_promotion_analysis.as_ref();
        all.push((format!("{path}.prePromotionAnalysis"), before));
        let after = blue_green.post_promotion_analysis.as_ref();
        all.push((format!("{path}.postPromotionAnalysis"), after));
    }
    if let Some(canary) = spec::canary(spec) {
        let path = "spec.strategy.canary";
        all.push((format!("{path}.analysis"), canary.analysis.as_ref()));
        for (index, step) in canary.steps.iter().flatten().enumerate() {
            let path = format!("{path}.steps[{index}].analysis");
            all.push((path, step.analysis.as_ref()));
        }
    }
    all.into_iter()
        .filter_map(|(path, analysis)| Some((path, analysis?)))
        .collect()
}

/// The Services that a Rollout names, with the fields that name them.
pub(super) fn named_services(spec: &RolloutSpec) -> Vec<(&'static str, String)> {
    let canary = spec::canary(spec);
    let blue_green = spec::blue_green(spec);
    let named = [
        (
            "spec.strategy.canary.stableService",
            canary.and_then(|canary| canary.stable_service.clone()),
        ),
        (
            "spec.strategy.canary.canaryService",
            canary.and_then(|canary| canary.canary_service.clone()),
        ),
        (
            "spec.strategy.blueGreen.activeService",
            blue_green.and_then(|blue_green| blue_green.active_service.clone()),
        ),
        (
            "spec.strategy.blueGreen.previewService",
            blue_green.and_then(|blue_green| blue_green.preview_service.clone()),
        ),
    ];
    named
        .into_iter()
        .filter_map(|(path, name)| Some((path, name.filter(|name| !name.is_empty())?)))
        .collect()
}

#[cfg(test)]
mod tests;
