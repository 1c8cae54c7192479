//! How many pods a rollout may have at once, and how many it must keep.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStrategy, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_api::names::{DESIRED_REPLICAS, MAX_REPLICAS};

/// A ReplicaSet as the arithmetic sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Name.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// `spec.replicas`.
    pub wanted: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// What the Deployment wanted in all when it last resized this ReplicaSet.
    pub noted_desired: Option<i32>,
    /// That plus surge.
    pub noted_max: Option<i32>,
}

impl Size {
    /// Reads the sizes of a ReplicaSet.
    pub(super) fn of(replica_set: &ReplicaSet) -> Self {
        let meta = &replica_set.metadata;
        let note = |key: &str| meta.annotations.as_ref()?.get(key)?.parse().ok();
        Self {
            name: meta.name.clone().unwrap_or_default(),
            created: meta
                .creation_timestamp
                .as_ref()
                .map_or(Timestamp::MIN, |at| at.0),
            wanted: wanted(replica_set),
            available: replica_set
                .status
                .as_ref()
                .and_then(|status| status.available_replicas)
                .unwrap_or(0),
            noted_desired: note(DESIRED_REPLICAS),
            noted_max: note(MAX_REPLICAS),
        }
    }

    /// Wanted but not available.
    pub(super) fn unavailable(&self) -> i32 {
        (self.wanted - self.available).max(0)
    }
}

/// `spec.replicas` of a ReplicaSet.
pub(crate) fn wanted(replica_set: &ReplicaSet) -> i32 {
    replica_set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// `spec.replicas` of a Deployment.
pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
        .max(0)
}

/// What a Deployment's size and strategy allow during a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Pods wanted.
    pub replicas: i32,
    /// Pods above that, for a while.
    pub surge: i32,
    /// Pods below that, for a while.
    pub unavailable: i32,
}

impl Bounds {
    /// The bounds of a Deployment.
    pub(super) fn of(deployment: &Deployment) -> Self {
        let strategy = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref());
        Self::resolve(replicas(deployment), strategy)
    }

    /// Percentages of `replicas` become numbers: surge rounded up, unavailable rounded down.
    /// If both come out as zero nothing could ever move, so one pod may be unavailable.
    fn resolve(replicas: i32, strategy: Option<&DeploymentStrategy>) -> Self {
        if recreates(strategy) {
            return Self {
                replicas,
                surge: 0,
                unavailable: 0,
            };
        }
        let quarter = IntOrString::String("25%".to_owned());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = rolling
            .and_then(|rolling| rolling.max_surge.as_ref())
            .unwrap_or(&quarter);
        let unavailable = rolling
            .and_then(|rolling| rolling.max_unavailable.as_ref())
            .unwrap_or(&quarter);
        let surge = share(surge, replicas, Rounding::Up);
        let mut unavailable = share(unavailable, replicas, Rounding::Down);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Self {
            replicas,
            surge,
            unavailable: unavailable.min(replicas),
        }
    }

    /// Pods there may be at once.
    pub(super) fn max_total(self) -> i32 {
        self.replicas.saturating_add(self.surge)
    }

    /// Pods that must be available throughout.
    pub(super) fn min_available(self) -> i32 {
        self.replicas - self.unavailable
    }
}

/// True for the strategy that removes all old pods before it creates new ones.
pub(super) fn recreates(strategy: Option<&DeploymentStrategy>) -> bool {
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// Which way a share of a count is rounded.
#[derive(Clone, Copy)]
pub(crate) enum Rounding {
    /// Up.
    Up,
    /// Down.
    Down,
}

/// A number, or a percentage of `of`; never less than 0.
pub(crate) fn share(value: &IntOrString, of: i32, rounding: Rounding) -> i32 {
    let number = match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text
                .trim_end_matches('%')
                .parse::<i32>()
                .map_or(0, i64::from);
            let hundredths = percent * i64::from(of);
            let whole = match rounding {
                Rounding::Up => (hundredths + 99) / 100,
                Rounding::Down => hundredths / 100,
            };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    };
    number.max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `surge` and `unavailable` as written; the bounds they resolve to for `replicas`.
    #[track_caller]
    fn case(replicas: i32, surge: Value, unavailable: Value, expected: (i32, i32)) {
        let strategy = serde_json::from_value(json!({"type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}))
        .unwrap();
        let bounds = Bounds::resolve(replicas, Some(&strategy));
        assert_eq!((bounds.surge, bounds.unavailable), expected);
    }

    #[test]
    fn percentages_round_surge_up_and_unavailable_down() {
        case(10, json!("25%"), json!("25%"), (3, 2));
        case(4, json!("25%"), json!("25%"), (1, 1));
        case(3, json!("25%"), json!("25%"), (1, 0));
        case(1, json!("25%"), json!("25%"), (1, 0));
        case(10, json!("1%"), json!("99%"), (1, 9));
        case(2, json!("100%"), json!("0%"), (2, 0));
        case(3, json!(null), json!(null), (1, 0));
        case(5, json!(2), json!(0), (2, 0));
    }

    #[test]
    fn when_both_are_zero_one_pod_may_be_unavailable() {
        case(3, json!(0), json!(0), (0, 1));
        case(3, json!("0%"), json!("10%"), (0, 1));
        case(0, json!(0), json!(0), (0, 0));
    }

    #[test]
    fn no_more_pods_can_be_unavailable_than_there_are() {
        case(3, json!(0), json!(10), (0, 3));
        case(0, json!("25%"), json!("25%"), (0, 0));
    }

    #[test]
    fn odd_values_do_no_harm() {
        case(3, json!(-2), json!("x%"), (0, 1));
        case(
            i32::MAX,
            json!("2147483647%"),
            json!("25%"),
            (i32::MAX, 536_870_911),
        );
    }

    #[test]
    fn recreate_has_neither_surge_nor_slack() {
        let strategy = DeploymentStrategy {
            type_: Some("Recreate".to_owned()),
            rolling_update: None,
        };
        let bounds = Bounds::resolve(3, Some(&strategy));
        assert_eq!(
            (bounds.surge, bounds.unavailable, bounds.min_available()),
            (0, 0, 3)
        );
    }
}
