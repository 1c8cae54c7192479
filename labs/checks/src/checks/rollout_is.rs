//! K017: a Rollout is at a point of its way.

use std::fmt;

use futures::try_join;
use jiff::Timestamp;
use kube::ResourceExt;
use lab_api::analysis::{AnalysisPhase, AnalysisRun};
use lab_api::rollouts::{POD_TEMPLATE_HASH, Rollout, RolloutStatus};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, Consistent, accepts_consistent, schema, start_consistent};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::read;
use crate::subject::{Subject, SubjectName, Subjects, in_time};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K017",
    name: "rollout-is",
    help: "Rollout `rollout` has `strategy` (`canary` or `blueGreen`), `stable` as the image that serves users, \
        `canary` as the image that is tried (not the stable one), `weight` percent of the traffic for it, is at step \
        `stepIndex` (counted from 0), in `phase` (`Healthy`, `Paused`, `Degraded` or `Progressing`), was or was not \
        `aborted` since the lab began, and an `analysis` of its present revision is `Successful`, `Failed` or \
        `Running`. At least one of these must be named.",
    schema: schema::<With>,
    accepts: accepts_consistent::<With>,
    run: |context, input| start_consistent(DEF.name, run, context, input),
};

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    rollout: String,
    phase: Option<Phase>,
    aborted: Option<bool>,
    step_index: Option<i32>,
    weight: Option<i32>,
    stable: Option<String>,
    canary: Option<String>,
    analysis: Option<Analysis>,
    strategy: Option<Strategy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum Phase {
    Healthy,
    Paused,
    Degraded,
    Progressing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
enum Analysis {
    Successful,
    Failed,
    Running,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Strategy {
    Canary,
    BlueGreen,
}

impl fmt::Display for Strategy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Canary => "canary",
            Self::BlueGreen => "blueGreen",
        })
    }
}

impl Analysis {
    fn is(self, phase: AnalysisPhase) -> bool {
        match self {
            Self::Successful => phase == AnalysisPhase::Successful,
            // Not being able to measure stops an update just as well.
            Self::Failed => matches!(phase, AnalysisPhase::Failed | AnalysisPhase::Error),
            Self::Running => phase == AnalysisPhase::Running,
        }
    }
}

impl With {
    /// What is asked for, as `field value`.
    fn wishes(&self) -> Vec<String> {
        let Self {
            rollout: _,
            phase,
            aborted,
            step_index,
            weight,
            stable,
            canary,
            analysis,
            strategy,
        } = self;
        [
            strategy.map(|strategy| format!("strategy {strategy}")),
            phase.map(|phase| format!("phase {phase:?}")),
            aborted.map(|aborted| format!("aborted {aborted}")),
            stable.as_ref().map(|image| format!("stable {image}")),
            canary.as_ref().map(|image| format!("canary {image}")),
            weight.map(|weight| format!("weight {weight}")),
            step_index.map(|step| format!("stepIndex {step}")),
            analysis.map(|analysis| format!("analysis {analysis:?}")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Consistent for With {
    fn consistent(&self) -> Result<(), String> {
        if self.wishes().is_empty() {
            return Err(
                "it asks nothing of the Rollout: name a phase, an image, a weight …".to_owned(),
            );
        }
        if self
            .weight
            .is_some_and(|weight| !(0..=100).contains(&weight))
        {
            return Err("`weight` is a percentage, 0 to 100".to_owned());
        }
        if self.stable.is_some() && self.stable == self.canary {
            return Err("`canary` is the same as `stable`".to_owned());
        }
        Ok(())
    }
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let name = SubjectName::Rollout(with.rollout.clone());
    let runs = async {
        match with.analysis {
            Some(_) => read::here::<AnalysisRun>(&context.client, &context.namespace).await,
            None => Ok(Vec::new()),
        }
    };
    let (seen, runs) = try_join!(Subjects::read(&context, Some(&name)), runs)?;
    Ok(judge(
        &with,
        &seen,
        &context.namespace,
        &runs,
        context.desk.since,
    ))
}

fn judge(
    with: &With,
    seen: &Subjects,
    namespace: &str,
    runs: &[AnalysisRun],
    since: Option<Timestamp>,
) -> Outcome {
    let expected = Fact::RolloutWanted {
        rollout: with.rollout.clone(),
        state: with.wishes().join(", "),
    };
    let name = SubjectName::Rollout(with.rollout.clone());
    let found = read::named(&seen.rollouts, &with.rollout, namespace);
    let found = found.and_then(|rollout| Ok((rollout, seen.of(&name, namespace)?)));
    let (rollout, subject) = match found {
        Ok(found) => found,
        Err(diagnosis) => {
            let observed = Fact::Nothing {
                kind: "Rollout".to_owned(),
                name: with.rollout.clone(),
            };
            let evidence = Evidence {
                expected,
                observed,
                since: None,
            };
            return Outcome::of(evidence, Err(diagnosis));
        }
    };
    let status = rollout.status.clone().unwrap_or_default();
    let way = Way {
        with,
        rollout,
        subject: &subject,
        status: &status,
    };
    let shown = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let changed = status
        .conditions
        .iter()
        .map(|condition| condition.last_update_time.0)
        .max();
    let evidence = Evidence {
        expected,
        observed: Fact::Rollout {
            rollout: with.rollout.clone(),
            phase: match status.message.is_empty() {
                true => status.phase.clone(),
                false => format!("{} ({})", status.phase, status.message),
            },
            step: shown(status.current_step_index.map(|step| step.to_string())),
            weight: shown(way.weight().map(|weight| weight.to_string())),
            stable: shown(way.stable()),
            wanted: subject.images(),
        },
        since: changed,
    };
    Outcome::of(evidence, way.find(runs, since))
}

/// A Rollout on its way, and what is asked of it.
struct Way<'a> {
    with: &'a With,
    rollout: &'a Rollout,
    subject: &'a Subject<'a>,
    status: &'a RolloutStatus,
}

impl Way<'_> {
    /// Images of the version that serves users.
    fn stable(&self) -> Option<String> {
        let stable = self.revision_images(&self.status.stable_rs)?;
        Some(stable.join(", "))
    }

    fn revision_images(&self, hash: &str) -> Option<&[String]> {
        let mut revisions = self.subject.revisions.iter();
        let found =
            revisions.find(|revision| !hash.is_empty() && revision.hash.as_deref() == Some(hash));
        found.map(|revision| revision.images.as_slice())
    }

    /// The canary's share of the traffic: as it was set, or as the steps say where nobody divides
    /// the traffic but the numbers of pods.
    fn weight(&self) -> Option<i32> {
        if let Some(weights) = &self.status.canary.weights {
            return Some(weights.canary.weight);
        }
        let canary = self.rollout.spec.strategy.as_ref()?.canary.as_ref()?;
        if self.status.stable_rs == self.status.current_pod_hash || self.status.abort {
            return Some(0);
        }
        let done = usize::try_from(self.status.current_step_index?).ok()?;
        let steps = canary.steps.iter().flatten().take(done + 1);
        Some(steps.filter_map(|step| step.set_weight).last().unwrap_or(0))
    }

    fn strategy(&self) -> Option<Strategy> {
        let strategy = self.rollout.spec.strategy.as_ref()?;
        match (&strategy.canary, &strategy.blue_green) {
            (Some(_), _) => Some(Strategy::Canary),
            (None, Some(_)) => Some(Strategy::BlueGreen),
            (None, None) => None,
        }
    }

    fn find(&self, runs: &[AnalysisRun], since: Option<Timestamp>) -> Result<(), Diagnosis> {
        self.written()?;
        self.observed()?;
        self.aborted(since)?;
        self.images()?;
        self.divided()?;
        self.analysed(runs, since)?;
        self.phase()
    }

    /// What the learner wrote.
    fn written(&self) -> Result<(), Diagnosis> {
        let rollout = self.with.rollout.clone();
        let found = self.strategy();
        if let Some(expected) = self.with.strategy
            && found != Some(expected)
        {
            return Err(Diagnosis::RolloutOtherStrategy {
                rollout,
                expected: expected.to_string(),
                found: found.map_or_else(|| "–".to_owned(), |found| found.to_string()),
            });
        }
        let invalid = self.status.conditions.iter();
        let mut invalid = invalid
            .filter(|condition| condition.type_ == "InvalidSpec" && condition.status == "True");
        match invalid.next() {
            Some(condition) => Err(Diagnosis::RolloutSpecInvalid {
                rollout,
                message: condition.message.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Whether the status is about what is written now.
    fn observed(&self) -> Result<(), Diagnosis> {
        let observed: i64 = self.status.observed_generation.parse().unwrap_or(0);
        if observed < self.rollout.metadata.generation.unwrap_or(0) || self.status.phase.is_empty()
        {
            return Err(Diagnosis::NotObserved {
                deployment: self.with.rollout.clone(),
            });
        }
        Ok(())
    }

    fn aborted(&self, since: Option<Timestamp>) -> Result<(), Diagnosis> {
        let rollout = self.with.rollout.clone();
        let at = self.status.aborted_at.as_ref().map(|time| time.0);
        match (self.with.aborted, self.status.abort) {
            (Some(true), aborted) if !aborted || at.is_some_and(|at| !in_time(at, since)) => {
                Err(Diagnosis::RolloutNotAborted { rollout })
            }
            (Some(false), true) => Err(Diagnosis::RolloutAborted {
                rollout,
                message: self.status.message.clone(),
            }),
            // Whoever asks for health, or for an update to be under way, does not get it from an
            // abort; one that leaves the old version is told by its name.
            (None, true)
                if self
                    .with
                    .phase
                    .is_some_and(|phase| phase != Phase::Degraded) =>
            {
                Err(Diagnosis::RolloutAborted {
                    rollout,
                    message: self.status.message.clone(),
                })
            }
            (_, _) => Ok(()),
        }
    }

    fn images(&self) -> Result<(), Diagnosis> {
        let rollout = self.with.rollout.clone();
        if let Some(expected) = &self.with.stable {
            let stable = self
                .revision_images(&self.status.stable_rs)
                .unwrap_or_default();
            if !stable.contains(expected) {
                return Err(Diagnosis::RolloutOtherStable {
                    rollout,
                    expected: expected.clone(),
                    found: self.stable().unwrap_or_else(|| "–".to_owned()),
                });
            }
        }
        if let Some(expected) = &self.with.canary {
            let same = self.status.stable_rs == self.status.current_pod_hash;
            let canary = self
                .revision_images(&self.status.current_pod_hash)
                .unwrap_or_default();
            if same || !canary.contains(expected) {
                return Err(Diagnosis::RolloutOtherCanary {
                    rollout,
                    expected: expected.clone(),
                    found: if same || canary.is_empty() {
                        "–".to_owned()
                    } else {
                        canary.join(", ")
                    },
                });
            }
        }
        Ok(())
    }

    fn divided(&self) -> Result<(), Diagnosis> {
        let rollout = self.with.rollout.clone();
        if let Some(expected) = self.with.weight {
            let found = self.weight();
            let weights = self.status.canary.weights.as_ref();
            // The service of the canary must be the one that gets it.
            let hash = weights.map(|weights| weights.canary.pod_template_hash.as_str());
            let swapped = found == Some(100 - expected) && expected != 50
                || hash.is_some_and(|hash| {
                    expected > 0
                        && hash == self.status.stable_rs
                        && hash != self.status.current_pod_hash
                });
            if swapped {
                return Err(Diagnosis::WeightsSwapped {
                    expected: format!("{expected} %"),
                    found: format!("{} %", found.unwrap_or_default()),
                });
            }
            if found != Some(expected) {
                return Err(Diagnosis::RolloutOtherWeight {
                    rollout,
                    expected: expected.to_string(),
                    found: found.map_or_else(|| "–".to_owned(), |found| found.to_string()),
                });
            }
        }
        if let Some(expected) = self.with.step_index {
            let found = self.status.current_step_index;
            if found != Some(expected) {
                return Err(Diagnosis::RolloutOtherStep {
                    rollout,
                    expected: expected.to_string(),
                    found: found.map_or_else(|| "–".to_owned(), |found| found.to_string()),
                });
            }
        }
        Ok(())
    }

    fn analysed(&self, runs: &[AnalysisRun], since: Option<Timestamp>) -> Result<(), Diagnosis> {
        let Some(expected) = self.with.analysis else {
            return Ok(());
        };
        let rollout = self.with.rollout.clone();
        let uid = self.rollout.uid().unwrap_or_default();
        let own = runs.iter().filter(|run| {
            lab_api::objects::is_controlled_by(&run.metadata, &uid)
                && run.labels().get(POD_TEMPLATE_HASH) == Some(&self.status.current_pod_hash)
                && run
                    .creation_timestamp()
                    .is_none_or(|made| in_time(made.0, since))
        });
        let mut own: Vec<_> = own.collect();
        own.sort_by_key(|run| run.creation_timestamp().map(|made| made.0));
        let phase = |run: &AnalysisRun| {
            run.status
                .as_ref()
                .and_then(|status| status.phase)
                .unwrap_or_default()
        };
        if own.iter().any(|run| expected.is(phase(run))) {
            // One that failed is not made good by another that succeeded.
            let worse = own.iter().find(|run| Analysis::Failed.is(phase(run)));
            match worse {
                Some(run) if expected == Analysis::Successful => {
                    return Err(other_analysis(rollout, expected, phase(run), run));
                }
                Some(_) | None => return Ok(()),
            }
        }
        Err(match own.last() {
            Some(run) => other_analysis(rollout, expected, phase(run), run),
            None => Diagnosis::RolloutNoAnalysis { rollout },
        })
    }

    fn phase(&self) -> Result<(), Diagnosis> {
        let found = self.status.phase.as_str();
        match self.with.phase {
            Some(expected) if format!("{expected:?}") != found => {
                Err(Diagnosis::RolloutOtherPhase {
                    rollout: self.with.rollout.clone(),
                    expected: format!("{expected:?}"),
                    found: found.to_owned(),
                    message: match self.status.message.is_empty() {
                        true => "–".to_owned(),
                        false => self.status.message.clone(),
                    },
                })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn other_analysis(
    rollout: String,
    expected: Analysis,
    found: AnalysisPhase,
    run: &AnalysisRun,
) -> Diagnosis {
    let message = run
        .status
        .as_ref()
        .and_then(|status| status.message.clone());
    Diagnosis::RolloutAnalysisOther {
        rollout,
        expected: format!("{expected:?}"),
        found: format!("{found:?}"),
        message: message
            .filter(|message| !message.is_empty())
            .unwrap_or_else(|| run.name_any()),
    }
}

#[cfg(test)]
mod tests;
