//! Functions of a series' samples within a time.

use super::seconds;
use crate::store::Sample;

/// The value of a function that needs nothing but the samples (at least one) and the bounds of
/// the window in milliseconds; `None` where the series has no value.
pub(super) fn apply(function: &str, samples: &[Sample], bounds: (i64, i64)) -> Option<f64> {
    let values = || samples.iter().map(|sample| sample.value);
    Some(match function {
        "rate" => extrapolated(samples, bounds, true)? / (seconds(bounds.1) - seconds(bounds.0)),
        "increase" => extrapolated(samples, bounds, true)?,
        "delta" => extrapolated(samples, bounds, false)?,
        "irate" => instant_change(samples, true)?,
        "idelta" => instant_change(samples, false)?,
        "deriv" if samples.len() < 2 => return None,
        "deriv" => regression(samples, samples[0].at).0,
        "changes" => count_pairs(samples, |before, after| {
            before != after && !(before.is_nan() && after.is_nan())
        }),
        "resets" => count_pairs(samples, |before, after| after < before),
        "sum_over_time" => sum(values()),
        "avg_over_time" => average(values()),
        "min_over_time" => extreme(values(), |new, old| new < old),
        "max_over_time" => extreme(values(), |new, old| new > old),
        "count_over_time" => float(samples.len()),
        "last_over_time" => samples.last()?.value,
        "present_over_time" => 1.0,
        "stdvar_over_time" => variance(values()),
        "stddev_over_time" => variance(values()).sqrt(),
        other => unreachable!("{other} is no function of a range alone"),
    })
}

/// Numbers of samples are far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "numbers of samples are small")]
pub(super) fn float(count: usize) -> f64 {
    count as f64
}

/// How much it grew over the whole window, which the samples do not quite cover: the trend is
/// continued to an end of the window that is near, and a counter never to below zero.
fn extrapolated(samples: &[Sample], (from, to): (i64, i64), is_counter: bool) -> Option<f64> {
    let [first, .., last] = samples else {
        return None;
    };
    let mut grown = last.value - first.value;
    if is_counter {
        let pairs = samples.windows(2);
        grown += pairs
            .filter(|pair| pair[1].value < pair[0].value)
            .map(|pair| pair[0].value)
            .sum::<f64>();
    }
    let mut to_start = seconds(first.at - from);
    let to_end = seconds(to - last.at);
    let sampled = seconds(last.at - first.at);
    let average = sampled / float(samples.len() - 1);
    if is_counter && grown > 0.0 && first.value >= 0.0 {
        to_start = to_start.min(sampled * (first.value / grown));
    }
    let near = average * 1.1;
    let reach = |gap: f64| if gap < near { gap } else { average / 2.0 };
    let covered = sampled + reach(to_start) + reach(to_end);
    Some(grown * (covered / sampled))
}

fn instant_change(samples: &[Sample], is_rate: bool) -> Option<f64> {
    let [.., before, last] = samples else {
        return None;
    };
    let change = if is_rate && last.value < before.value {
        last.value
    } else {
        last.value - before.value
    };
    Some(if is_rate {
        change / seconds(last.at - before.at)
    } else {
        change
    })
}

fn count_pairs(samples: &[Sample], counts: impl Fn(f64, f64) -> bool) -> f64 {
    let pairs = samples.windows(2);
    float(
        pairs
            .filter(|pair| counts(pair[0].value, pair[1].value))
            .count(),
    )
}

fn extreme(values: impl Iterator<Item = f64>, better: impl Fn(f64, f64) -> bool) -> f64 {
    values.fold(f64::NAN, |best, value| {
        if best.is_nan() || better(value, best) {
            value
        } else {
            best
        }
    })
}

/// A sum that keeps what rounding loses (Kahan, Neumaier).
#[derive(Clone, Copy, Default)]
struct Kahan {
    sum: f64,
    lost: f64,
}

impl Kahan {
    fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            (self.sum - sum) + value
        } else {
            (value - sum) + self.sum
        };
        self.sum = sum;
    }

    fn total(self) -> f64 {
        if self.sum.is_infinite() {
            self.sum
        } else {
            self.sum + self.lost
        }
    }
}

fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Kahan::default();
    values.for_each(|value| sum.add(value));
    sum.total()
}

fn average(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut count) = (Kahan::default(), 0.0);
    for value in values {
        count += 1.0;
        if mean.sum.is_infinite() {
            let same = value.is_infinite() && (mean.sum > 0.0) == (value > 0.0);
            if same || value.is_finite() {
                continue;
            }
        }
        mean.add(value / count - mean.sum / count);
    }
    mean.total()
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut count) = (Kahan::default(), Kahan::default(), 0.0);
    for value in values {
        count += 1.0;
        let delta = value - (mean.sum + mean.lost);
        mean.add(delta / count);
        squares.add(delta * (value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / count
}

/// Slope per second and value at `origin` (milliseconds) of the line nearest to the samples.
pub(super) fn regression(samples: &[Sample], origin: i64) -> (f64, f64) {
    let first = samples[0].value;
    if samples
        .iter()
        .all(|sample| sample.value.to_bits() == first.to_bits())
    {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let mut sums = [Kahan::default(); 4];
    for sample in samples {
        let (x, y) = (seconds(sample.at - origin), sample.value);
        for (sum, value) in sums.iter_mut().zip([x, y, x * y, x * x]) {
            sum.add(value);
        }
    }
    let [x, y, xy, xx] = sums.map(|sum| sum.sum + sum.lost);
    let count = float(samples.len());
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

/// Double exponential smoothing; `None` with fewer than two samples.
pub(super) fn holt_winters(samples: &[Sample], smoothing: f64, trend: f64) -> Option<f64> {
    let [first, second, ..] = samples else {
        return None;
    };
    let (mut before, mut now) = (0.0, first.value);
    let mut slope = second.value - first.value;
    for (index, sample) in samples.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (now - before) + (1.0 - trend) * slope;
        }
        let next = smoothing * sample.value + (1.0 - smoothing) * (now + slope);
        (before, now) = (now, next);
    }
    Some(now)
}

/// The φ-quantile, interpolated.
pub(super) fn quantile(phi: f64, values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    // What is not a number counts as smallest.
    values.sort_by(|one, other| match (one.is_nan(), other.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => one.total_cmp(other),
    });
    let rank = phi * (float(values.len()) - 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank lies between zero and the number of values"
    )]
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}
