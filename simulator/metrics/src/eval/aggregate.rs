//! Aggregations: one element for many.

use std::collections::BTreeMap;

use super::over_time::{float, quantile};
use super::{Element, Evaluated, fail};
use crate::labels::{Labels, is_label_name};
use crate::promql::ast::{Aggregation, Grouping};

/// What an aggregation takes beside its elements.
pub(super) enum Param {
    /// Nothing.
    None,
    /// `k` or `φ`.
    Number(f64),
    /// The label that gets the value.
    Label(String),
}

pub(super) fn aggregate(
    op: Aggregation,
    elements: Vec<Element>,
    param: &Param,
    grouping: &Grouping,
) -> Evaluated<Vec<Element>> {
    let mut grouping = grouping.clone();
    let value_label = match param {
        Param::Label(label) if is_label_name(label) => Some(label.as_str()),
        Param::Label(label) => return fail(format!("invalid label name {label:?}")),
        Param::None | Param::Number(_) => None,
    };
    if let Some(label) = value_label.filter(|_| !grouping.without) {
        grouping.labels.push(label.to_owned());
    }
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for mut element in elements {
        if let Some(label) = value_label {
            let mut labels = element.labels.edit();
            labels.set(label, format_value(element.value));
            element.labels = labels.build();
        }
        let key = if grouping.without {
            element.labels.without(&grouping.labels)
        } else {
            element.labels.only(&grouping.labels)
        };
        groups.entry(key).or_default().push(element);
    }
    let number = match param {
        Param::Number(number) => *number,
        Param::None | Param::Label(_) => f64::NAN,
    };
    if matches!(op, Aggregation::Topk | Aggregation::Bottomk) {
        let best = groups
            .into_values()
            .map(|group| best(group, number, op == Aggregation::Topk));
        return Ok(best.flatten().collect());
    }
    Ok(groups
        .into_iter()
        .map(|(labels, group)| Element {
            labels,
            value: reduce(op, &group, number),
        })
        .collect())
}

/// The `k` largest or smallest, in that order; what is no number comes last.
fn best(mut group: Vec<Element>, k: f64, largest: bool) -> Vec<Element> {
    let key = |element: &Element| (element.value.is_nan(), element.value);
    group.sort_by(|one, other| {
        let ((one_nan, one), (other_nan, other)) = (key(one), key(other));
        let by_value = if largest {
            other.partial_cmp(&one)
        } else {
            one.partial_cmp(&other)
        };
        one_nan
            .cmp(&other_nan)
            .then(by_value.unwrap_or(std::cmp::Ordering::Equal))
    });
    // Not a number, and anything below one, takes none.
    let k = if k >= 1.0 { k.min(1e9) } else { 0.0 };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded above"
    )]
    group.truncate(k as usize);
    group
}

fn reduce(op: Aggregation, group: &[Element], number: f64) -> f64 {
    let values = || group.iter().map(|element| element.value);
    match op {
        Aggregation::Sum => values().sum(),
        Aggregation::Avg => average(values()),
        Aggregation::Min => values().fold(f64::NAN, |least, value| {
            if least.is_nan() || value < least {
                value
            } else {
                least
            }
        }),
        Aggregation::Max => values().fold(f64::NAN, |most, value| {
            if most.is_nan() || value > most {
                value
            } else {
                most
            }
        }),
        Aggregation::Count | Aggregation::CountValues => float(group.len()),
        Aggregation::Group => 1.0,
        Aggregation::Stdvar => variance(values()),
        Aggregation::Stddev => variance(values()).sqrt(),
        Aggregation::Quantile => quantile(number, values()),
        Aggregation::Topk | Aggregation::Bottomk => {
            unreachable!("these keep elements and do not reduce them")
        }
    }
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count): (f64, f64) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        if mean.is_infinite() {
            let same = value.is_infinite() && (mean > 0.0) == (value > 0.0);
            if same || value.is_finite() {
                continue;
            }
        }
        mean += value / count - mean / count;
    }
    mean
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let delta = value - mean;
        mean += delta / count;
        squares += delta * (value - mean);
    }
    squares / count
}

/// A value as Prometheus writes it: shortest digits, never an exponent.
#[must_use]
pub(crate) fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        value.to_string()
    }
}
