//! Calls of functions that give a vector.

use super::over_time::{self, quantile};
use super::{Element, Evaluated, Query, fail, histogram, seconds, times, unique};
use crate::labels::{Labels, NAME, is_label_name};
use crate::promql::MATH;
use crate::promql::ast::{Expr, MatchKind, Matcher, anchored};
use crate::store::Sample;

impl Query {
    pub(super) fn call(&self, function: &str, args: &[Expr], now: i64) -> Evaluated<Vec<Element>> {
        if let Some((_, math)) = MATH.iter().find(|(known, _)| *known == function) {
            return self.map(&args[0], now, math);
        }
        match function {
            "absent" => {
                let found = self.vector(&args[0], now)?;
                Ok(absent(found.is_empty(), &args[0]))
            }
            "absent_over_time" => {
                let window = self.matrix(&args[0], now)?;
                Ok(absent(window.series.is_empty(), &args[0]))
            }
            "clamp" => {
                let (least, most) = (self.scalar(&args[1], now)?, self.scalar(&args[2], now)?);
                if most < least {
                    return Ok(Vec::new());
                }
                self.map(&args[0], now, |value| larger(least, smaller(most, value)))
            }
            "clamp_max" => {
                let most = self.scalar(&args[1], now)?;
                self.map(&args[0], now, |value| smaller(most, value))
            }
            "clamp_min" => {
                let least = self.scalar(&args[1], now)?;
                self.map(&args[0], now, |value| larger(least, value))
            }
            "round" => {
                let nearest = match args.get(1) {
                    Some(arg) => self.scalar(arg, now)?,
                    None => 1.0,
                };
                let inverse = 1.0 / nearest;
                self.map(&args[0], now, |value| {
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            "minute" | "hour" | "day_of_week" | "day_of_month" | "day_of_year"
            | "days_in_month" | "month" | "year" => match args.first() {
                Some(arg) => self.map(arg, now, |value| times::part(function, value)),
                None => Ok(vec![Element {
                    labels: Labels::default(),
                    value: times::part(function, seconds(now)),
                }]),
            },
            "vector" => Ok(vec![Element {
                labels: Labels::default(),
                value: self.scalar(&args[0], now)?,
            }]),
            "sort" => self.sorted(&args[0], now, false),
            "sort_desc" => self.sorted(&args[0], now, true),
            "timestamp" => self.timestamps(&args[0], now),
            "histogram_quantile" => {
                let phi = self.scalar(&args[0], now)?;
                unique(histogram::quantiles(phi, self.vector(&args[1], now)?))
            }
            "label_replace" => self.label_replace(args, now),
            "label_join" => self.label_join(args, now),
            _ => self.over_time(function, args, now),
        }
    }

    /// Every value through a function; the name goes.
    fn map(&self, arg: &Expr, now: i64, f: impl Fn(f64) -> f64) -> Evaluated<Vec<Element>> {
        let elements = self.vector(arg, now)?.into_iter();
        unique(elements.map(|element| Element {
            labels: element.labels.without_name(),
            value: f(element.value),
        }))
    }

    fn sorted(&self, arg: &Expr, now: i64, descending: bool) -> Evaluated<Vec<Element>> {
        let mut elements = self.vector(arg, now)?;
        // What is not a number comes last both ways.
        elements.sort_by(|one, other| {
            let by_value = one.value.partial_cmp(&other.value);
            let by_value = by_value.unwrap_or(std::cmp::Ordering::Equal);
            one.value
                .is_nan()
                .cmp(&other.value.is_nan())
                .then(if descending {
                    by_value.reverse()
                } else {
                    by_value
                })
        });
        Ok(elements)
    }

    fn timestamps(&self, arg: &Expr, now: i64) -> Evaluated<Vec<Element>> {
        if let Expr::Vector(selector) = arg.bare() {
            let latest = self.latest(selector, now)?.into_iter();
            return unique(latest.map(|(labels, sample)| Element {
                labels: labels.without_name(),
                value: seconds(sample.at),
            }));
        }
        self.map(arg, now, |_| seconds(now))
    }

    /// Functions of a range.
    fn over_time(&self, function: &str, args: &[Expr], now: i64) -> Evaluated<Vec<Element>> {
        let (range, numbers): (&Expr, &[Expr]) = match function {
            "quantile_over_time" => (&args[1], &args[..1]),
            _ => (&args[0], &args[1..]),
        };
        let numbers: Vec<f64> = numbers
            .iter()
            .map(|arg| self.scalar(arg, now))
            .collect::<Evaluated<_>>()?;
        if function == "holt_winters" {
            for (number, what) in numbers.iter().zip(["smoothing factor", "trend factor"]) {
                if *number <= 0.0 || *number >= 1.0 {
                    return fail(format!(
                        "invalid {what}: expected between 0 and 1, got {number}"
                    ));
                }
            }
        }
        let window = self.matrix(range, now)?;
        let value = |samples: &[Sample]| match function {
            "quantile_over_time" => {
                let values = samples.iter().map(|sample| sample.value);
                Some(quantile(numbers[0], values))
            }
            "predict_linear" => (samples.len() >= 2).then(|| {
                let (slope, intercept) = over_time::regression(samples, now);
                slope * numbers[0] + intercept
            }),
            "holt_winters" => over_time::holt_winters(samples, numbers[0], numbers[1]),
            _ => over_time::apply(function, samples, window.bounds),
        };
        let elements = window.series.iter().filter_map(|one| {
            let labels = if function == "last_over_time" {
                one.labels.clone()
            } else {
                one.labels.without_name()
            };
            let value = value(&one.samples)?;
            Some(Element { labels, value })
        });
        unique(elements)
    }

    fn label_replace(&self, args: &[Expr], now: i64) -> Evaluated<Vec<Element>> {
        let [dst, replacement, src, pattern] = [1, 2, 3, 4].map(|at| self.text(&args[at]));
        let (dst, replacement, src, pattern) = (dst?, replacement?, src?, pattern?);
        if !is_label_name(&dst) {
            return fail(format!(
                "invalid destination label name in label_replace(): {dst}"
            ));
        }
        let known = self.regexes.borrow().get(&pattern).cloned();
        let regex = match known {
            Some(regex) => regex,
            None => match anchored(&pattern) {
                Ok(regex) => regex,
                Err(problem) => {
                    return fail(format!(
                        "invalid regular expression in label_replace(): {problem}"
                    ));
                }
            },
        };
        self.regexes.borrow_mut().insert(pattern, regex.clone());
        let elements = self.vector(&args[0], now)?.into_iter().map(|element| {
            let Some(captures) = regex.captures(element.labels.get(&src)) else {
                return element;
            };
            let mut value = String::new();
            captures.expand(&replacement, &mut value);
            let mut labels = element.labels.edit();
            labels.set(dst.as_str(), value);
            Element {
                labels: labels.build(),
                value: element.value,
            }
        });
        unique(elements)
    }

    fn label_join(&self, args: &[Expr], now: i64) -> Evaluated<Vec<Element>> {
        let texts = args[1..].iter().map(|arg| self.text(arg));
        let texts: Vec<String> = texts.collect::<Evaluated<_>>()?;
        let [dst, separator, sources @ ..] = texts.as_slice() else {
            return fail("label_join needs a destination and a separator");
        };
        for name in std::iter::once(dst).chain(sources) {
            if !is_label_name(name) {
                return fail(format!("invalid label name in label_join(): {name}"));
            }
        }
        let elements = self.vector(&args[0], now)?.into_iter().map(|element| {
            let values: Vec<_> = sources
                .iter()
                .map(|name| element.labels.get(name))
                .collect();
            let mut labels = element.labels.edit();
            labels.set(dst.as_str(), values.join(separator));
            Element {
                labels: labels.build(),
                value: element.value,
            }
        });
        unique(elements)
    }
}

/// As in Go: what is not a number wins.
fn larger(one: f64, other: f64) -> f64 {
    if one.is_nan() || other.is_nan() {
        f64::NAN
    } else {
        one.max(other)
    }
}

fn smaller(one: f64, other: f64) -> f64 {
    if one.is_nan() || other.is_nan() {
        f64::NAN
    } else {
        one.min(other)
    }
}

/// One, with the labels that the selector names exactly, where nothing was found.
fn absent(is_absent: bool, arg: &Expr) -> Vec<Element> {
    if !is_absent {
        return Vec::new();
    }
    let matchers: &[Matcher] = match arg.bare() {
        Expr::Vector(selector) | Expr::Matrix(selector, _) => &selector.matchers,
        _ => &[],
    };
    let mut labels = Labels::default().edit();
    for matcher in matchers.iter().filter(|matcher| matcher.name != NAME) {
        let named = matchers.iter().filter(|other| other.name == matcher.name);
        if matcher.kind == MatchKind::Equal && named.count() == 1 {
            labels.set(matcher.name.as_str(), matcher.value.as_str());
        }
    }
    vec![Element {
        labels: labels.build(),
        value: 1.0,
    }]
}
