//! Operators between two sides.

use std::collections::{HashMap, HashSet};

use super::{Element, Evaluated, fail, unique};
use crate::labels::{Labels, NAME};
use crate::promql::ast::{Cardinality, Matching, Operator};

/// Two numbers; a comparison is 1 or 0.
pub(super) fn scalars(op: Operator, left: f64, right: f64) -> f64 {
    let (value, holds) = apply(op, left, right);
    if op.compares() {
        f64::from(u8::from(holds))
    } else {
        value
    }
}

/// The value, and whether a comparison keeps it (which is then the left one).
fn apply(op: Operator, left: f64, right: f64) -> (f64, bool) {
    #[expect(
        clippy::float_cmp,
        reason = "PromQL compares numbers, not approximations"
    )]
    match op {
        Operator::Add => (left + right, true),
        Operator::Sub => (left - right, true),
        Operator::Mul => (left * right, true),
        Operator::Div => (left / right, true),
        Operator::Mod => (left % right, true),
        Operator::Pow => (left.powf(right), true),
        Operator::Atan2 => (left.atan2(right), true),
        Operator::Equal => (left, left == right),
        Operator::NotEqual => (left, left != right),
        Operator::Greater => (left, left > right),
        Operator::Less => (left, left < right),
        Operator::GreaterEqual => (left, left >= right),
        Operator::LessEqual => (left, left <= right),
        Operator::And | Operator::Or | Operator::Unless => {
            unreachable!("sets have no values of their own")
        }
    }
}

/// Every element against one number, which stands on the left where `swapped`.
pub(super) fn with_scalar(
    op: Operator,
    with_bool: bool,
    elements: Vec<Element>,
    scalar: f64,
    swapped: bool,
) -> Vec<Element> {
    let one = |Element { labels, value }| {
        let (result, holds) = if swapped {
            apply(op, scalar, value)
        } else {
            apply(op, value, scalar)
        };
        if !op.compares() {
            return Some(Element {
                labels: labels.without_name(),
                value: result,
            });
        }
        if with_bool {
            return Some(Element {
                labels: labels.without_name(),
                value: f64::from(u8::from(holds)),
            });
        }
        holds.then_some(Element { labels, value })
    };
    elements.into_iter().filter_map(one).collect()
}

/// Two vectors.
pub(super) fn vectors(
    op: Operator,
    with_bool: bool,
    matching: &Matching,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Evaluated<Vec<Element>> {
    if op.is_set() {
        return unique(sets(op, matching, left, right));
    }
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let partners = partners(matching, one, swapped)?;
    let mut seen: HashMap<Labels, HashSet<Labels>> = HashMap::new();
    let mut found = Vec::new();
    for element in many {
        let key = key(matching, &element.labels);
        let Some(partner) = partners.get(&key) else {
            continue;
        };
        let (value, holds) = if swapped {
            apply(op, partner.value, element.value)
        } else {
            apply(op, element.value, partner.value)
        };
        if op.compares() && !with_bool && !holds {
            continue;
        }
        let labels = result_labels(op, with_bool, matching, &element.labels, &partner.labels);
        let known = seen.entry(key).or_default();
        let first = known.is_empty();
        if matching.cardinality == Cardinality::OneToOne && !first {
            return fail(
                "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
            );
        }
        if !known.insert(labels.clone()) {
            return fail("multiple matches for labels: grouping labels must ensure unique matches");
        }
        let value = if op.compares() && with_bool {
            f64::from(u8::from(holds))
        } else {
            value
        };
        found.push(Element { labels, value });
    }
    unique(found)
}

/// The elements of the side that has one for several, by what they are matched by.
fn partners(
    matching: &Matching,
    one: Vec<Element>,
    swapped: bool,
) -> Evaluated<HashMap<Labels, Element>> {
    let mut partners: HashMap<Labels, Element> = HashMap::with_capacity(one.len());
    for element in one {
        let key = key(matching, &element.labels);
        if let Some(other) = partners.get(&key) {
            let side = if swapped { "left" } else { "right" };
            return fail(format!(
                "found duplicate series for the match group {key} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                element.labels, other.labels
            ));
        }
        partners.insert(key, element);
    }
    Ok(partners)
}

fn key(matching: &Matching, labels: &Labels) -> Labels {
    if matching.on {
        labels.only(&matching.labels)
    } else {
        labels.without(&matching.labels)
    }
}

fn result_labels(
    op: Operator,
    with_bool: bool,
    matching: &Matching,
    many: &Labels,
    one: &Labels,
) -> Labels {
    let mut labels = many.edit();
    if !op.compares() || with_bool {
        labels.remove(NAME);
    }
    if matching.cardinality == Cardinality::OneToOne {
        if matching.on {
            let kept = labels.build();
            labels = kept.only(&matching.labels).edit();
        } else {
            for label in &matching.labels {
                labels.remove(label);
            }
        }
    }
    for label in &matching.include {
        labels.set(label.as_str(), one.get(label));
    }
    labels.build()
}

fn sets(
    op: Operator,
    matching: &Matching,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Vec<Element> {
    let keys = |elements: &[Element]| -> HashSet<Labels> {
        let keys = elements
            .iter()
            .map(|element| key(matching, &element.labels));
        keys.collect()
    };
    match op {
        Operator::Or => {
            let known = keys(&left);
            let more = right
                .into_iter()
                .filter(|element| !known.contains(&key(matching, &element.labels)));
            left.into_iter().chain(more).collect()
        }
        _ => {
            let known = keys(&right);
            let wanted = op == Operator::And;
            let kept = left
                .into_iter()
                .filter(|element| known.contains(&key(matching, &element.labels)) == wanted);
            kept.collect()
        }
    }
}
