//! Conditions of an autoscaler.
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale-walkthrough/#appendix-horizontal-pod-autoscaler-status-conditions>

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lab_api::conditions::status_text;

/// The conditions of one autoscaler, as they become in a pass.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    all: Vec<HorizontalPodAutoscalerCondition>,
    now: Timestamp,
}

impl Conditions {
    /// Those of the pass before.
    pub(super) fn new(
        before: Option<Vec<HorizontalPodAutoscalerCondition>>,
        now: Timestamp,
    ) -> Self {
        Self {
            all: before.unwrap_or_default(),
            now,
        }
    }

    /// Sets one; its transition time moves with its status only.
    pub(super) fn set(
        &mut self,
        type_: &str,
        holds: bool,
        reason: &str,
        message: impl Into<String>,
    ) {
        let status = status_text(holds).to_owned();
        let mut condition = HorizontalPodAutoscalerCondition {
            type_: type_.to_owned(),
            status,
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            last_transition_time: Some(Time(self.now)),
        };
        match self.all.iter_mut().find(|present| present.type_ == type_) {
            Some(present) => {
                if present.status == condition.status {
                    condition.last_transition_time = present.last_transition_time.take();
                }
                *present = condition;
            }
            None => self.all.push(condition),
        }
    }

    pub(super) fn into_list(self) -> Vec<HorizontalPodAutoscalerCondition> {
        self.all
    }
}
