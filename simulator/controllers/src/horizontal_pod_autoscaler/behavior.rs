//! How fast a size may follow what the metrics ask for: stabilization windows and policies.
//!
//! All times are waits of the cluster itself, so that its speed shortens them.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior,
};
use lab_api::quantity::parse_nanos;
use lab_context::Context;

use super::ratio::{Tolerance, ceil};

/// Tolerance where the autoscaler names none.
const TOLERANCE: f64 = 0.1;

/// Which policy of a direction counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Select {
    /// The one that allows the greatest change.
    Max,
    /// The one that allows the smallest.
    Min,
    /// None: the direction is closed.
    Disabled,
}

/// How much may change within a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// So many pods.
    Pods(i32),
    /// So many percent of the size at the period's start.
    Percent(i32),
}

/// The rules of one direction.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rules {
    pub(super) window: Duration,
    pub(super) select: Select,
    pub(super) policies: Vec<(Amount, Duration)>,
}

/// The rules of both.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Behavior {
    pub(super) up: Rules,
    pub(super) down: Rules,
    pub(super) tolerance: Tolerance,
}

/// What an autoscaler remembers; it forgets everything when the control plane restarts, as
/// upstream does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    /// Sizes asked for by the metrics, and when.
    pub(super) recommendations: Vec<(i32, Timestamp)>,
    /// Pods added, and when.
    pub(super) added: Vec<(i32, Timestamp)>,
    /// Pods removed, and when.
    pub(super) removed: Vec<(i32, Timestamp)>,
}

/// A size and why it is not another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limited {
    pub(super) replicas: i32,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

impl Behavior {
    /// The rules of an autoscaler; what it leaves out has the defaults of Kubernetes.
    pub(super) fn of(given: Option<&HorizontalPodAutoscalerBehavior>, context: &Context) -> Self {
        let up = given.and_then(|given| given.scale_up.as_ref());
        let down = given.and_then(|given| given.scale_down.as_ref());
        let seconds = |seconds: u64| context.scale(Duration::from_secs(seconds));
        let quickly = seconds(15);
        Self {
            up: rules(
                up,
                0,
                &[(Amount::Pods(4), quickly), (Amount::Percent(100), quickly)],
                context,
            ),
            down: rules(down, 300, &[(Amount::Percent(100), quickly)], context),
            tolerance: Tolerance {
                up: tolerance(up),
                down: tolerance(down),
            },
        }
    }
}

fn tolerance(rules: Option<&HPAScalingRules>) -> f64 {
    let quantity = rules.and_then(|rules| rules.tolerance.as_ref());
    let nanos = quantity.and_then(|quantity| parse_nanos(&quantity.0).ok());
    #[expect(clippy::cast_precision_loss, reason = "a tolerance is a small number")]
    nanos.map_or(TOLERANCE, |nanos| nanos as f64 / 1e9)
}

fn rules(
    given: Option<&HPAScalingRules>,
    window: u64,
    policies: &[(Amount, Duration)],
    context: &Context,
) -> Rules {
    let scaled = |seconds: i32| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        context.scale(Duration::from_secs(seconds))
    };
    let asked = given.and_then(|rules| rules.stabilization_window_seconds);
    let policy = |policy: &HPAScalingPolicy| {
        let amount = if policy.type_ == "Pods" {
            Amount::Pods(policy.value)
        } else {
            Amount::Percent(policy.value)
        };
        (amount, scaled(policy.period_seconds))
    };
    let own = given.and_then(|rules| rules.policies.as_ref());
    let own: Vec<_> = own.into_iter().flatten().map(policy).collect();
    Rules {
        window: asked.map_or_else(|| context.scale(Duration::from_secs(window)), scaled),
        select: match given.and_then(|rules| rules.select_policy.as_deref()) {
            Some("Min") => Select::Min,
            Some("Disabled") => Select::Disabled,
            _ => Select::Max,
        },
        policies: if own.is_empty() {
            policies.to_vec()
        } else {
            own
        },
    }
}

impl Memory {
    /// Notes the size that there is when the autoscaler is first seen, so that nothing shrinks
    /// at once.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((current, now));
        }
    }

    /// Notes a change of size that was carried out.
    pub(super) fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        match to.cmp(&from) {
            std::cmp::Ordering::Greater => self.added.push((to - from, now)),
            std::cmp::Ordering::Less => self.removed.push((from - to, now)),
            std::cmp::Ordering::Equal => {}
        }
    }

    /// Holds a size against the sizes asked for lately: a larger one must have been wanted for
    /// the whole window of growing, a smaller one for that of shrinking.
    pub(super) fn stabilize(
        &mut self,
        current: i32,
        wanted: i32,
        behavior: &Behavior,
        now: Timestamp,
    ) -> i32 {
        let within = |at: Timestamp, window: Duration| at > now - window;
        let (mut lowest, mut highest) = (wanted, wanted);
        for (size, at) in &self.recommendations {
            if within(*at, behavior.up.window) {
                lowest = lowest.min(*size);
            }
            if within(*at, behavior.down.window) {
                highest = highest.max(*size);
            }
        }
        let longest = behavior.up.window.max(behavior.down.window);
        self.recommendations.retain(|(_, at)| within(*at, longest));
        self.recommendations.push((wanted, now));
        current.max(lowest).min(highest)
    }

    /// Forgets changes that no policy looks back to any more.
    fn trim(&mut self, behavior: &Behavior, now: Timestamp) {
        let policies = behavior.up.policies.iter().chain(&behavior.down.policies);
        let longest = policies
            .map(|(_, period)| *period)
            .max()
            .unwrap_or_default();
        for changes in [&mut self.added, &mut self.removed] {
            changes.retain(|(_, at)| *at > now - longest);
        }
    }

    /// The size at the start of a period, and so what its policy counts from.
    fn at_start(&self, current: i32, period: Duration, now: Timestamp) -> i32 {
        let lately = |changes: &[(i32, Timestamp)]| -> i32 {
            let recent = changes.iter().filter(|(_, at)| *at > now - period);
            recent.map(|(count, _)| count).sum()
        };
        current - lately(&self.added) + lately(&self.removed)
    }

    /// As much of a change as the policies and the bounds allow.
    pub(super) fn limit(
        &mut self,
        current: i32,
        wanted: i32,
        (min, max): (i32, i32),
        behavior: &Behavior,
        now: Timestamp,
    ) -> Limited {
        self.trim(behavior, now);
        if wanted > current {
            let allowed = self.most(current, &behavior.up, now).max(current);
            let (most, reason, message) = if max > allowed {
                (
                    allowed,
                    "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate",
                )
            } else {
                (
                    max,
                    "TooManyReplicas",
                    "the desired replica count is more than the maximum replica count",
                )
            };
            if wanted > most {
                return Limited {
                    replicas: most,
                    reason,
                    message,
                };
            }
        } else if wanted < current {
            let allowed = self.fewest(current, &behavior.down, now).min(current);
            let (fewest, reason, message) = if min < allowed {
                (
                    allowed,
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                )
            } else {
                (
                    min,
                    "TooFewReplicas",
                    "the desired replica count is less than the minimum replica count",
                )
            };
            if wanted < fewest {
                return Limited {
                    replicas: fewest,
                    reason,
                    message,
                };
            }
        }
        Limited {
            replicas: wanted,
            reason: "DesiredWithinRange",
            message: "the desired count is within the acceptable range",
        }
    }

    fn most(&self, current: i32, rules: &Rules, now: Timestamp) -> i32 {
        let sizes = rules.policies.iter().map(|(amount, period)| {
            let start = self.at_start(current, *period, now);
            match amount {
                Amount::Pods(count) => start.saturating_add(*count),
                Amount::Percent(percent) => {
                    ceil(f64::from(start) * (1.0 + f64::from(*percent) / 100.0))
                }
            }
        });
        match rules.select {
            Select::Max => sizes.max().unwrap_or(current),
            Select::Min => sizes.min().unwrap_or(current),
            Select::Disabled => current,
        }
    }

    fn fewest(&self, current: i32, rules: &Rules, now: Timestamp) -> i32 {
        let sizes = rules.policies.iter().map(|(amount, period)| {
            let start = self.at_start(current, *period, now);
            match amount {
                Amount::Pods(count) => start.saturating_sub(*count),
                Amount::Percent(percent) => {
                    floor(f64::from(start) * (1.0 - f64::from(*percent) / 100.0))
                }
            }
        });
        match rules.select {
            Select::Max => sizes.min().unwrap_or(current),
            Select::Min => sizes.max().unwrap_or(current),
            Select::Disabled => current,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "smaller than a replica count"
)]
fn floor(number: f64) -> i32 {
    (number + 1e-9).floor() as i32
}

#[cfg(test)]
mod tests;
