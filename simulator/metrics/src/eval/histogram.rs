//! Quantiles of classic histograms.

use std::collections::BTreeMap;

use super::Element;
use crate::labels::{BUCKET, Labels};

#[derive(Clone, Copy, Debug)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// The φ-quantile of every histogram among the elements.
pub(super) fn quantiles(phi: f64, elements: Vec<Element>) -> Vec<Element> {
    let mut histograms: BTreeMap<Labels, Vec<Bucket>> = BTreeMap::new();
    for Element { labels, value } in elements {
        // What is no bucket is passed over.
        let Ok(bound) = labels.get(BUCKET).parse() else {
            continue;
        };
        let key = labels.without(&[BUCKET.to_owned()]);
        let bucket = Bucket {
            bound,
            count: value,
        };
        histograms.entry(key).or_default().push(bucket);
    }
    histograms
        .into_iter()
        .map(|(labels, buckets)| Element {
            labels,
            value: quantile(phi, buckets),
        })
        .collect()
}

fn quantile(phi: f64, mut buckets: Vec<Bucket>) -> f64 {
    if phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|one, other| one.bound.total_cmp(&other.bound));
    if buckets
        .last()
        .is_none_or(|last| last.bound != f64::INFINITY)
    {
        return f64::NAN;
    }
    let buckets = monotonic(buckets);
    let [.., before_last, last] = buckets.as_slice() else {
        return f64::NAN;
    };
    if last.count == 0.0 {
        return f64::NAN;
    }
    let mut rank = phi * last.count;
    let finite = &buckets[..buckets.len() - 1];
    let place = finite
        .iter()
        .position(|bucket| bucket.count >= rank)
        .unwrap_or(finite.len());
    let Some(bucket) = finite.get(place) else {
        return before_last.bound;
    };
    if place == 0 && bucket.bound <= 0.0 {
        return bucket.bound;
    }
    let (mut start, mut count) = (0.0, bucket.count);
    if let Some(below) = place.checked_sub(1).map(|below| buckets[below]) {
        start = below.bound;
        count -= below.count;
        rank -= below.count;
    }
    start + (bucket.bound - start) * (rank / count)
}

/// Joins buckets of the same bound, and lets no count fall: scraped one after another, they may.
fn monotonic(buckets: Vec<Bucket>) -> Vec<Bucket> {
    let mut joined: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        match joined.last_mut() {
            Some(last) if last.bound == bucket.bound => last.count += bucket.count,
            _ => joined.push(bucket),
        }
    }
    let mut most = f64::NEG_INFINITY;
    for bucket in &mut joined {
        most = most.max(bucket.count);
        bucket.count = most;
    }
    joined
}
