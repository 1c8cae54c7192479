//! From what is used and what should be used to a number of replicas.
//!
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>

use jiff::Timestamp;

use super::pods::{Groups, Patience, PodView, Sample, Samples, group};

/// Ratios this close to 1 change nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tolerance {
    /// Above 1.
    pub(super) up: f64,
    /// Below 1.
    pub(super) down: f64,
}

impl Tolerance {
    /// True where a ratio is as good as 1.
    fn holds(self, ratio: f64) -> bool {
        // The difference of two ratios carries rounding errors that must not decide.
        const ROUNDING: f64 = 1e-9;
        ratio >= 1.0 - self.down - ROUNDING && ratio <= 1.0 + self.up + ROUNDING
    }
}

/// What is wanted for one metric, and what was seen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// Wanted replicas.
    pub(super) replicas: i32,
    /// Percent of the request, where that was the question.
    pub(super) utilization: Option<i32>,
    /// Value per pod in thousandths.
    pub(super) average_milli: i64,
}

/// The pods of a workload at a moment.
#[derive(Clone, Copy)]
pub(super) struct Workload<'a> {
    /// Replicas that it has.
    pub(super) replicas: i32,
    /// Its pods.
    pub(super) pods: &'a [PodView],
    /// When a young pod's CPU counts.
    pub(super) patience: Patience,
    /// How close is close enough.
    pub(super) tolerance: Tolerance,
    /// The present moment.
    pub(super) now: Timestamp,
}

/// Where a resource is to be used to a share of what is requested.
pub(super) fn by_utilization(
    workload: &Workload<'_>,
    mut samples: Samples,
    (resource, container): (&str, Option<&str>),
    target_percent: i32,
) -> Result<Answer, String> {
    let groups = set_aside(workload, &mut samples, resource == "cpu")?;
    let requests = requests(workload.pods, resource, container)?;
    let request = |name: &str| {
        requests
            .iter()
            .find(|(of, _)| of == name)
            .map(|(_, milli)| *milli)
    };
    let usage = |samples: &Samples| -> Option<(i64, i64, usize)> {
        let known = samples
            .iter()
            .filter_map(|(name, sample)| Some((sample.milli, request(name)?)));
        let known: Vec<(i64, i64)> = known.collect();
        let used = known.iter().map(|(used, _)| used).sum();
        let requested: i64 = known.iter().map(|(_, requested)| requested).sum();
        (requested > 0).then_some((used, requested, known.len()))
    };
    let percent = |used: i64, requested: i64| used.saturating_mul(100) / requested;
    let ratio = |samples: &Samples| {
        let (used, requested, _) = usage(samples)?;
        Some(to_f64(percent(used, requested)) / f64::from(target_percent))
    };
    let (used, requested, counted) =
        usage(&samples).ok_or("no metrics returned matched known pods")?;
    let answer = |replicas| Answer {
        replicas,
        utilization: Some(i32::try_from(percent(used, requested)).unwrap_or(i32::MAX)),
        average_milli: used / i64::try_from(counted).unwrap_or(i64::MAX).max(1),
    };
    // A pod without figures may use all it asked for.
    let fallback = |name: &str| {
        let percent = i64::from(target_percent.max(100));
        request(name).map_or(0, |milli| milli.saturating_mul(percent) / 100)
    };
    let first = ratio(&samples).unwrap_or(1.0);
    let replicas = decide(workload, &groups, samples, first, fallback, ratio);
    Ok(answer(replicas))
}

/// Where each pod is to have a value of its own.
pub(super) fn by_average(
    workload: &Workload<'_>,
    mut samples: Samples,
    is_cpu: bool,
    target_milli: i64,
) -> Result<Answer, String> {
    let groups = set_aside(workload, &mut samples, is_cpu)?;
    let average = |samples: &Samples| {
        let sum: i64 = samples.values().map(|sample| sample.milli).sum();
        sum / i64::try_from(samples.len()).unwrap_or(i64::MAX).max(1)
    };
    let ratio = |samples: &Samples| Some(to_f64(average(samples)) / to_f64(target_milli));
    let average_milli = average(&samples);
    let first = to_f64(average_milli) / to_f64(target_milli);
    let replicas = decide(workload, &groups, samples, first, |_| target_milli, ratio);
    Ok(Answer {
        replicas,
        utilization: None,
        average_milli,
    })
}

/// Groups the pods and drops the samples that do not count.
fn set_aside(
    workload: &Workload<'_>,
    samples: &mut Samples,
    is_cpu: bool,
) -> Result<Groups, String> {
    let Workload {
        pods,
        patience,
        now,
        ..
    } = *workload;
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".to_owned());
    }
    let groups = group(pods, samples, is_cpu, patience, now);
    samples.retain(|name, _| {
        let is = |names: &[String]| names.contains(name);
        // A sample of a pod that is gone counts for nothing either.
        pods.iter().any(|pod| pod.name == *name) && !is(&groups.ignored) && !is(&groups.unready)
    });
    if samples.is_empty() {
        let text = "did not receive metrics for targeted pods (pods might be unready)";
        return Err(text.to_owned());
    }
    Ok(groups)
}

/// The size that a ratio asks for, after pods that were set aside have been counted in the way
/// that dampens the change.
fn decide(
    workload: &Workload<'_>,
    groups: &Groups,
    mut samples: Samples,
    ratio: f64,
    fallback: impl Fn(&str) -> i64,
    again: impl Fn(&Samples) -> Option<f64>,
) -> i32 {
    let Workload {
        replicas: current,
        tolerance,
        now,
        ..
    } = *workload;
    let unready_count = !groups.unready.is_empty() && ratio > 1.0;
    if !unready_count && groups.missing.is_empty() {
        if tolerance.holds(ratio) {
            return current;
        }
        return ceil(ratio * count(groups.ready));
    }
    let assumed = |milli| Sample {
        milli,
        time: now,
        window: std::time::Duration::ZERO,
    };
    for name in &groups.missing {
        if ratio < 1.0 {
            samples.insert(name.clone(), assumed(fallback(name)));
        } else if ratio > 1.0 {
            samples.insert(name.clone(), assumed(0));
        }
    }
    if unready_count {
        for name in &groups.unready {
            samples.insert(name.clone(), assumed(0));
        }
    }
    let dampened = again(&samples).unwrap_or(1.0);
    let flipped = (ratio < 1.0 && dampened > 1.0) || (ratio > 1.0 && dampened < 1.0);
    if tolerance.holds(dampened) || flipped {
        return current;
    }
    let wanted = ceil(dampened * count(samples.len()));
    let wrong_way = (dampened < 1.0 && wanted > current) || (dampened > 1.0 && wanted < current);
    if wrong_way { current } else { wanted }
}

fn requests(
    pods: &[PodView],
    resource: &str,
    container: Option<&str>,
) -> Result<Vec<(String, i64)>, String> {
    let of = |pod: &PodView| {
        let mut sum = 0_i64;
        let wanted = |name: &str| container.is_none_or(|container| container == name);
        for (name, requests) in pod.requests.iter().filter(|(name, _)| wanted(name)) {
            let request = requests.get(resource).ok_or_else(|| {
                format!(
                    "missing request for {resource} in container {name} of Pod {}",
                    pod.name
                )
            })?;
            sum = sum.saturating_add(*request);
        }
        Ok((pod.name.clone(), sum))
    };
    pods.iter().map(of).collect()
}

/// Where one value is to be divided by more pods: the ratio times the ready ones.
pub(super) fn by_value(
    current: i32,
    ready: usize,
    usage_milli: i64,
    target_milli: i64,
    tolerance: Tolerance,
) -> i32 {
    let ratio = to_f64(usage_milli) / to_f64(target_milli);
    if current == 0 {
        return ceil(ratio);
    }
    if tolerance.holds(ratio) {
        return current;
    }
    ceil(ratio * count(ready))
}

/// Where a total is to be spread evenly: as many pods as its parts.
pub(super) fn by_total(
    current: i32,
    total_milli: i64,
    target_milli: i64,
    tolerance: Tolerance,
) -> Answer {
    let per_pod = to_f64(target_milli) * f64::from(current);
    let replicas = if current > 0 && tolerance.holds(to_f64(total_milli) / per_pod) {
        current
    } else {
        ceil(to_f64(total_milli) / to_f64(target_milli))
    };
    Answer {
        replicas,
        utilization: None,
        average_milli: i64::from(ceil(to_f64(total_milli) / f64::from(current.max(1)))),
    }
}

/// How the sizes that several metrics ask for become one.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Combined<'a, E> {
    /// The largest, and which metric asked for it.
    Wanted(i32, usize),
    /// A metric that cannot be read might ask for more: the first failure, and how many failed.
    Unknown(&'a E, usize),
}

/// The largest wins. Where one cannot be read, the others may only add pods.
pub(super) fn combine<E>(current: i32, proposals: &[Result<i32, E>]) -> Combined<'_, E> {
    let mut largest: Option<(i32, usize)> = None;
    for (index, proposal) in proposals.iter().enumerate() {
        if let Ok(wanted) = proposal
            && largest.is_none_or(|(most, _)| *wanted > most)
        {
            largest = Some((*wanted, index));
        }
    }
    let mut failures = proposals
        .iter()
        .filter_map(|proposal| proposal.as_ref().err());
    let failed = failures.clone().count();
    match (largest, failures.next()) {
        (Some((wanted, index)), None) => Combined::Wanted(wanted, index),
        (Some((wanted, index)), Some(_)) if wanted >= current => Combined::Wanted(wanted, index),
        (_, Some(first)) => Combined::Unknown(first, failed),
        (None, None) => Combined::Wanted(current, 0),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a replica count is a small number"
)]
fn to_f64(number: i64) -> f64 {
    number as f64
}

fn count(pods: usize) -> f64 {
    f64::from(u32::try_from(pods).unwrap_or(u32::MAX))
}

/// Up to a whole number, and what a rounding error adds is not a pod.
#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, and the maximum clamps it"
)]
pub(super) fn ceil(number: f64) -> i32 {
    (number - 1e-9).ceil().max(0.0) as i32
}

#[cfg(test)]
mod tests;
