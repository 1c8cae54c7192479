//! A Rollout's spec with its defaults filled in, and what its steps say.
//!
//! The CustomResourceDefinition has no defaults, so they are the controller's.
//! <https://argo-rollouts.readthedocs.io/en/stable/features/specification/>

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::rollouts::{
    BlueGreenStrategy, CanaryStep, CanaryStrategy, HeaderMatch, Rollout, RolloutSpec,
    SetCanaryScale,
};

use super::counts::Limits;
use crate::deployment::size::{Rounding, share};

const REVISION_HISTORY: i32 = 10;
const PROGRESS_DEADLINE: i32 = 600;
const SCALE_DOWN_DELAY: i32 = 30;
const RUNS_KEPT: i32 = 5;
/// What weights add up to.
pub(super) const FULL_WEIGHT: i32 = 100;

/// `spec.replicas`.
pub(super) fn replicas(spec: &RolloutSpec) -> i32 {
    spec.replicas.unwrap_or(1).max(0)
}

/// `spec.revisionHistoryLimit`.
pub(super) fn revision_history_limit(spec: &RolloutSpec) -> usize {
    let limit = spec.revision_history_limit.unwrap_or(REVISION_HISTORY);
    usize::try_from(limit).unwrap_or(0)
}

/// `spec.progressDeadlineSeconds`. Not scaled: the application's author wrote it.
pub(super) fn progress_deadline(spec: &RolloutSpec) -> Duration {
    seconds(spec.progress_deadline_seconds.unwrap_or(PROGRESS_DEADLINE))
}

/// Successful and other runs kept.
pub(super) fn runs_kept(spec: &RolloutSpec) -> (usize, usize) {
    let limits = spec.analysis.clone().unwrap_or_default();
    let limit = |limit: Option<i32>| usize::try_from(limit.unwrap_or(RUNS_KEPT)).unwrap_or(0);
    (
        limit(limits.successful_run_history_limit),
        limit(limits.unsuccessful_run_history_limit),
    )
}

/// `spec.strategy.canary`.
pub(super) fn canary(spec: &RolloutSpec) -> Option<&CanaryStrategy> {
    spec.strategy.as_ref()?.canary.as_ref()
}

/// `spec.strategy.blueGreen`.
pub(super) fn blue_green(spec: &RolloutSpec) -> Option<&BlueGreenStrategy> {
    spec.strategy.as_ref()?.blue_green.as_ref()
}

/// The canary's steps; none for blue/green.
pub(super) fn steps(spec: &RolloutSpec) -> &[CanaryStep] {
    canary(spec)
        .and_then(|canary| canary.steps.as_deref())
        .unwrap_or_default()
}

/// True where a router divides the traffic.
pub(super) fn is_routed(spec: &RolloutSpec) -> bool {
    canary(spec).is_some_and(|canary| canary.traffic_routing.is_some())
}

/// True where the stable version shrinks as the canary grows.
pub(super) fn is_dynamic(spec: &RolloutSpec) -> bool {
    canary(spec).is_some_and(|canary| canary.dynamic_stable_scale == Some(true)) && is_routed(spec)
}

/// What all weights add up to.
pub(super) fn max_weight(spec: &RolloutSpec) -> i32 {
    canary(spec)
        .and_then(|canary| canary.traffic_routing.as_ref()?.max_traffic_weight)
        .filter(|max| *max > 0)
        .unwrap_or(FULL_WEIGHT)
}

/// How many pods there may be at once, and how many there must be.
pub(super) fn limits(spec: &RolloutSpec) -> Limits {
    let replicas = replicas(spec);
    let quarter = IntOrString::String("25%".to_owned());
    let (surge, unavailable) = match (canary(spec), blue_green(spec)) {
        (Some(canary), _) => (
            share(
                canary.max_surge.as_ref().unwrap_or(&quarter),
                replicas,
                Rounding::Up,
            ),
            canary.max_unavailable.as_ref(),
        ),
        (None, Some(blue_green)) => (0, blue_green.max_unavailable.as_ref()),
        (None, None) => (0, None),
    };
    let unavailable = share(unavailable.unwrap_or(&quarter), replicas, Rounding::Down);
    // If both were 0 nothing could ever move.
    let unavailable = if surge == 0 {
        unavailable.max(1)
    } else {
        unavailable
    };
    Limits {
        replicas,
        surge,
        unavailable: unavailable.min(replicas),
    }
}

/// Seconds that an old version is kept; `None` where the strategy keeps none.
pub(super) fn scale_down_delay(spec: &RolloutSpec) -> Option<Duration> {
    let delay = match (canary(spec), blue_green(spec)) {
        (Some(canary), _) if canary.traffic_routing.is_some() => canary.scale_down_delay_seconds,
        (None, Some(blue_green)) => blue_green.scale_down_delay_seconds,
        _ => return None,
    };
    Some(seconds(delay.unwrap_or(SCALE_DOWN_DELAY)))
}

/// How many old versions are kept for that time.
pub(super) fn scale_down_delay_limit(spec: &RolloutSpec) -> i32 {
    canary(spec)
        .and_then(|canary| canary.scale_down_delay_revision_limit)
        .or_else(|| blue_green(spec)?.scale_down_delay_revision_limit)
        .unwrap_or(i32::MAX)
}

/// How long the new version is kept after an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbortDelay {
    /// That long; the second field tells whether the author said so.
    For(Duration, bool),
    /// For ever.
    Forever,
    /// The strategy has no such delay.
    None,
}

/// `abortScaleDownDelaySeconds`.
pub(super) fn abort_delay(spec: &RolloutSpec) -> AbortDelay {
    let set = match (canary(spec), blue_green(spec)) {
        (Some(canary), _) if canary.traffic_routing.is_some() => {
            canary.abort_scale_down_delay_seconds
        }
        (None, Some(blue_green)) => blue_green.abort_scale_down_delay_seconds,
        _ => return AbortDelay::None,
    };
    match set {
        Some(0) => AbortDelay::Forever,
        Some(delay) => AbortDelay::For(seconds(delay), true),
        None => AbortDelay::For(seconds(SCALE_DOWN_DELAY), false),
    }
}

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// The step being done: its index, and the step unless all are done. `None` without steps.
pub(super) fn current_step(rollout: &Rollout) -> Option<(usize, Option<&CanaryStep>)> {
    let steps = steps(&rollout.spec);
    if steps.is_empty() {
        return None;
    }
    let index = rollout
        .status
        .as_ref()
        .and_then(|status| status.current_step_index)
        .unwrap_or(0);
    let index = usize::try_from(index).unwrap_or(0).min(steps.len());
    Some((index, steps.get(index)))
}

/// The last weight set at or before the current step: 0 where none was, all of it where the
/// steps are done.
pub(super) fn current_weight(rollout: &Rollout) -> i32 {
    if rollout.status.as_ref().is_some_and(|status| status.abort) {
        return 0;
    }
    match current_step(rollout) {
        Some((index, Some(_))) => weight_before(&rollout.spec, index + 1),
        Some((_, None)) | None => max_weight(&rollout.spec),
    }
}

/// The last weight set before step `index`.
pub(super) fn weight_before(spec: &RolloutSpec, index: usize) -> i32 {
    let done = steps(spec).iter().take(index).rev();
    done.filter_map(|step| step.set_weight).next().unwrap_or(0)
}

/// The canary scale that holds at the current step.
pub(super) fn canary_scale(rollout: &Rollout) -> Option<&SetCanaryScale> {
    let aborted = rollout.status.as_ref().is_some_and(|status| status.abort);
    // After an abort the canary keeps its scale only where it is to be kept for ever.
    if !is_routed(&rollout.spec) || aborted && abort_delay(&rollout.spec) != AbortDelay::Forever {
        return None;
    }
    let (index, Some(_)) = current_step(rollout)? else {
        return None;
    };
    let done = steps(&rollout.spec).iter().take(index + 1).rev();
    let scale = done
        .filter_map(|step| step.set_canary_scale.as_ref())
        .next()?;
    (scale.match_traffic_weight != Some(true)).then_some(scale)
}

/// The header routes that hold at step `index`, in the order in which steps made them.
pub(super) fn header_routes(spec: &RolloutSpec, index: usize) -> Vec<(&str, &[HeaderMatch])> {
    let mut routes: Vec<(&str, &[HeaderMatch])> = Vec::new();
    let done = steps(spec).iter().take(index + 1);
    for route in done.filter_map(|step| step.set_header_route.as_ref()) {
        let name = route.name.as_deref().unwrap_or_default();
        routes.retain(|(known, _)| *known != name);
        match route.r#match.as_deref() {
            None | Some([]) => {}
            Some(matches) => routes.push((name, matches)),
        }
    }
    routes
}

/// A pause's length in all its forms: seconds as a number or a text, or Go's durations (`90s`,
/// `1h30m`). `None` for what is neither.
pub(super) fn duration(text: &IntOrString) -> Option<Duration> {
    match text {
        IntOrString::Int(number) => u64::try_from(*number).ok().map(Duration::from_secs),
        IntOrString::String(text) => match text.parse::<u64>() {
            Ok(number) => Some(Duration::from_secs(number)),
            Err(_) => lab_api::duration::parse(text).ok(),
        },
    }
}

/// A step as events name it.
pub(super) fn describe(step: &CanaryStep) -> String {
    if let Some(weight) = step.set_weight {
        return format!("setWeight: {weight}");
    }
    if let Some(pause) = &step.pause {
        return match &pause.duration {
            None => "pause".to_owned(),
            Some(IntOrString::Int(number)) => format!("pause: {number}"),
            Some(IntOrString::String(text)) => format!("pause: {text}"),
        };
    }
    if step.analysis.is_some() {
        return "analysis".to_owned();
    }
    if let Some(scale) = &step.set_canary_scale {
        return match (scale.weight, scale.replicas) {
            (Some(weight), _) => format!("setCanaryScale{{weight: {weight}}}"),
            (None, Some(replicas)) => format!("setCanaryScale{{replicas: {replicas}}}"),
            (None, None) => "setCanaryScale{matchTrafficWeight: true}".to_owned(),
        };
    }
    if step.set_header_route.is_some() {
        return "setHeaderRoute".to_owned();
    }
    "invalid".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn pause(text: &str, expected: Option<f64>) {
        let found = duration(&IntOrString::String(text.to_owned()));
        assert_eq!(found.map(|length| length.as_secs_f64()), expected, "{text}");
    }

    #[test]
    fn a_pause_is_written_in_seconds_or_as_go_does() {
        assert_eq!(
            duration(&IntOrString::Int(30)),
            Some(Duration::from_secs(30))
        );
        assert_eq!(duration(&IntOrString::Int(-1)), None);
        pause("30", Some(30.0));
        pause("90s", Some(90.0));
        pause("5m", Some(300.0));
        pause("1h30m", Some(5400.0));
        pause("1.5h", Some(5400.0));
        pause("300ms", Some(0.3));
        for wrong in ["", "h", "1d", "-5s", "5 m", "five", "1h30"] {
            pause(wrong, None);
        }
    }
}
