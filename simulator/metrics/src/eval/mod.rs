//! Answers of PromQL expressions, as Prometheus 2 gives them.
//!
//! A selector looks back five minutes, both ends included, and a range includes both its ends:
//! so it is in Prometheus 2 (Debian's 2.42, against which `tests/prometheus.rs` compares), while
//! Prometheus 3 leaves the left end out. Data is read from the store once per query, then the
//! tree is evaluated for every step.

mod aggregate;
mod binary;
mod histogram;
mod over_time;
mod times;
mod vectors;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};

use regex::Regex;

use crate::labels::Labels;
use crate::promql::ast::{At, Expr, Selector, Type};
use crate::store::{Sample, Series, Store, is_stale};

/// How far an instant selector looks back, in milliseconds.
pub const LOOKBACK_MS: i64 = 5 * 60_000;
/// Most samples that one query reads: 32 MiB of them.
const MOST_SAMPLES: usize = 2_000_000;
/// Most samples that one query visits, several times perhaps: a few seconds of work.
const MOST_WORK: u64 = 100_000_000;
/// What one query may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    samples: usize,
    work: u64,
}

const LIMITS: Limits = Limits {
    samples: MOST_SAMPLES,
    work: MOST_WORK,
};

/// Most steps of a range query, as in Prometheus.
pub const MOST_STEPS: i64 = 11_000;

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// It would read too much.
    #[error(
        "the query would read too many samples (over {MOST_SAMPLES} of them, or the same ones too often): narrow it by labels, shorten its range, or make its step larger"
    )]
    TooMuch,
    /// It makes no sense with these series.
    #[error("{0}")]
    Execution(String),
}

pub(crate) use aggregate::format_value;

pub(crate) type Evaluated<T> = Result<T, EvalError>;

pub(crate) fn fail<T>(problem: impl Into<String>) -> Evaluated<T> {
    Err(EvalError::Execution(problem.into()))
}

/// An element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Which series.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// One value per series.
    Vector(Vec<Element>),
    /// Several values per series.
    Matrix(Vec<Series>),
}

impl Answer {
    /// The one number that the answer is: a scalar, or a vector of one element.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Scalar(number) => Some(*number),
            Self::Vector(elements) => match elements.as_slice() {
                [only] => Some(only.value),
                _ => None,
            },
            Self::Text(_) | Self::Matrix(_) => None,
        }
    }
}

/// Evaluates at one moment (milliseconds); `step` is that of subqueries that name none.
///
/// # Errors
/// Where the query reads too much or makes no sense with these series.
pub fn instant(store: &Store, expr: &Expr, at: i64, step: i64) -> Evaluated<Answer> {
    let query = Query::load(store, expr, (at, at), step, LIMITS)?;
    match expr.type_of() {
        Type::Scalar => query.scalar(expr, at).map(Answer::Scalar),
        Type::String => query.text(expr).map(Answer::Text),
        Type::Vector => query.vector(expr, at).map(Answer::Vector),
        Type::Matrix => {
            let window = query.matrix(expr.bare(), at)?;
            let series = window.series.into_iter().map(|one| Series {
                labels: one.labels,
                samples: one.samples.into_owned(),
            });
            Ok(Answer::Matrix(series.collect()))
        }
    }
}

/// Evaluates every `step` from `start` to `end` (milliseconds).
///
/// # Errors
/// Where the query reads too much, makes no sense with these series, or has no instant value.
pub fn range(
    store: &Store,
    expr: &Expr,
    (start, end, step): (i64, i64, i64),
    default_step: i64,
) -> Evaluated<Vec<Series>> {
    let query = Query::load(store, expr, (start, end), default_step, LIMITS)?;
    let mut found: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    let mut at = start;
    while at <= end {
        let elements = match expr.type_of() {
            Type::Scalar => vec![Element {
                labels: Labels::default(),
                value: query.scalar(expr, at)?,
            }],
            Type::Vector => query.vector(expr, at)?,
            other @ (Type::String | Type::Matrix) => {
                return fail(format!(
                    "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                    other.as_str()
                ));
            }
        };
        for Element { labels, value } in elements {
            let samples = found.entry(labels).or_default();
            if samples.last().is_some_and(|last| last.at == at) {
                return fail("vector cannot contain metrics with the same labelset");
            }
            samples.push(Sample { at, value });
        }
        at += step;
    }
    Ok(found
        .into_iter()
        .map(|(labels, samples)| Series { labels, samples })
        .collect())
}

/// A query with its data.
struct Query {
    /// By number of selector.
    data: Vec<Vec<Series>>,
    bounds: (i64, i64),
    default_step: i64,
    /// Samples that may still be visited.
    work: Cell<u64>,
    regexes: RefCell<HashMap<String, Regex>>,
}

/// The samples of several series within a time.
struct Window<'a> {
    series: Vec<WindowSeries<'a>>,
    /// Where it begins and ends, in milliseconds.
    bounds: (i64, i64),
}

struct WindowSeries<'a> {
    labels: Labels,
    samples: Cow<'a, [Sample]>,
}

impl Query {
    fn load(
        store: &Store,
        expr: &Expr,
        bounds: (i64, i64),
        default_step: i64,
        limits: Limits,
    ) -> Evaluated<Self> {
        let mut wanted = Vec::new();
        needs(expr, bounds, bounds, &mut wanted);
        wanted.sort_by_key(|(selector, _)| selector.id);
        let mut budget = limits.samples;
        let mut data = Vec::with_capacity(wanted.len());
        for (selector, window) in wanted {
            let found = store.select(&selector.matchers, window, &mut budget);
            data.push(found.ok_or(EvalError::TooMuch)?);
        }
        Ok(Self {
            data,
            bounds,
            default_step: default_step.max(1),
            work: Cell::new(limits.work),
            regexes: RefCell::default(),
        })
    }

    fn count(&self, samples: usize) -> Evaluated<()> {
        let left = self.work.get().checked_sub(samples as u64 + 1);
        self.work.set(left.ok_or(EvalError::TooMuch)?);
        Ok(())
    }

    fn moment(&self, at: Option<At>, now: i64) -> i64 {
        moment(at, now, self.bounds)
    }

    /// The latest sample of every series, with its time.
    fn latest(&self, selector: &Selector, now: i64) -> Evaluated<Vec<(Labels, Sample)>> {
        let until = self.moment(selector.at, now) - selector.offset;
        let series = &self.data[selector.id];
        self.count(series.len())?;
        let latest = series.iter().filter_map(|one| {
            let place = one.samples.partition_point(|sample| sample.at <= until);
            let sample = one.samples[..place].last()?;
            let lives = sample.at >= until - LOOKBACK_MS && !is_stale(sample.value);
            lives.then(|| (one.labels.clone(), *sample))
        });
        Ok(latest.collect())
    }

    /// The samples that a range selector or subquery covers; series without any are left out.
    fn matrix(&self, expr: &Expr, now: i64) -> Evaluated<Window<'_>> {
        match expr.bare() {
            Expr::Matrix(selector, range) => {
                let until = self.moment(selector.at, now) - selector.offset;
                let from = until - range;
                let mut series = Vec::new();
                for one in &self.data[selector.id] {
                    let begin = one.samples.partition_point(|sample| sample.at < from);
                    let end = one.samples.partition_point(|sample| sample.at <= until);
                    let samples = &one.samples[begin..end];
                    self.count(samples.len())?;
                    let samples = if samples.iter().any(|sample| is_stale(sample.value)) {
                        let kept = samples.iter().filter(|sample| !is_stale(sample.value));
                        Cow::Owned(kept.copied().collect())
                    } else {
                        Cow::Borrowed(samples)
                    };
                    if !samples.is_empty() {
                        let labels = one.labels.clone();
                        series.push(WindowSeries { labels, samples });
                    }
                }
                Ok(Window {
                    series,
                    bounds: (from, until),
                })
            }
            Expr::Subquery {
                expr,
                range,
                step,
                offset,
                at,
            } => {
                let until = self.moment(*at, now) - offset;
                let bounds = (until - range, until);
                let step = step.unwrap_or(self.default_step);
                self.subquery(expr, bounds, step)
            }
            _ => unreachable!("the parser lets only ranges stand where a range is wanted"),
        }
    }

    /// Evaluates at the multiples of the step, whatever the query's own moments are.
    fn subquery(&self, expr: &Expr, bounds: (i64, i64), step: i64) -> Evaluated<Window<'_>> {
        let mut at = bounds.0.div_euclid(step) * step;
        if at < bounds.0 {
            at += step;
        }
        let mut found: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        while at <= bounds.1 {
            let elements = match expr.type_of() {
                Type::Scalar => vec![Element {
                    labels: Labels::default(),
                    value: self.scalar(expr, at)?,
                }],
                _ => self.vector(expr, at)?,
            };
            self.count(elements.len())?;
            for Element { labels, value } in elements {
                found.entry(labels).or_default().push(Sample { at, value });
            }
            at += step;
        }
        let series = found.into_iter().map(|(labels, samples)| WindowSeries {
            labels,
            samples: Cow::Owned(samples),
        });
        Ok(Window {
            series: series.collect(),
            bounds,
        })
    }

    fn scalar(&self, expr: &Expr, now: i64) -> Evaluated<f64> {
        match expr {
            Expr::Number(number) => Ok(*number),
            Expr::Paren(inner) => self.scalar(inner, now),
            Expr::Negate(inner) => Ok(-self.scalar(inner, now)?),
            Expr::Binary {
                op, left, right, ..
            } => {
                let (left, right) = (self.scalar(left, now)?, self.scalar(right, now)?);
                Ok(binary::scalars(*op, left, right))
            }
            Expr::Call { function, args } => match *function {
                "time" => Ok(seconds(now)),
                "pi" => Ok(std::f64::consts::PI),
                "scalar" => Ok(match self.vector(&args[0], now)?.as_slice() {
                    [only] => only.value,
                    _ => f64::NAN,
                }),
                other => unreachable!("{other} is no scalar function"),
            },
            _ => unreachable!("the parser lets only scalars stand where a scalar is wanted"),
        }
    }

    fn text(&self, expr: &Expr) -> Evaluated<String> {
        match expr.bare() {
            Expr::Text(text) => Ok(text.clone()),
            _ => fail("expected a string"),
        }
    }

    fn vector(&self, expr: &Expr, now: i64) -> Evaluated<Vec<Element>> {
        match expr {
            Expr::Vector(selector) => {
                let latest = self.latest(selector, now)?.into_iter();
                let element = |(labels, sample): (Labels, Sample)| Element {
                    labels,
                    value: sample.value,
                };
                Ok(latest.map(element).collect())
            }
            Expr::Paren(inner) => self.vector(inner, now),
            Expr::Negate(inner) => {
                let elements = self.vector(inner, now)?.into_iter();
                unique(elements.map(|element| Element {
                    labels: element.labels.without_name(),
                    value: -element.value,
                }))
            }
            Expr::Aggregate {
                op,
                expr,
                param,
                grouping,
            } => {
                let elements = self.vector(expr, now)?;
                let param = match param.as_deref() {
                    None => aggregate::Param::None,
                    Some(param) if param.type_of() == Type::String => {
                        aggregate::Param::Label(self.text(param)?)
                    }
                    Some(param) => aggregate::Param::Number(self.scalar(param, now)?),
                };
                aggregate::aggregate(*op, elements, &param, grouping)
            }
            Expr::Binary {
                op,
                bool,
                matching,
                left,
                right,
            } => match (left.type_of(), right.type_of()) {
                (Type::Scalar, _) => {
                    let (left, right) = (self.scalar(left, now)?, self.vector(right, now)?);
                    unique(binary::with_scalar(*op, *bool, right, left, true))
                }
                (_, Type::Scalar) => {
                    let (left, right) = (self.vector(left, now)?, self.scalar(right, now)?);
                    unique(binary::with_scalar(*op, *bool, left, right, false))
                }
                _ => {
                    let (left, right) = (self.vector(left, now)?, self.vector(right, now)?);
                    binary::vectors(*op, *bool, matching, left, right)
                }
            },
            Expr::Call { function, args } => self.call(function, args, now),
            _ => unreachable!("the parser lets only vectors stand where a vector is wanted"),
        }
    }
}

fn moment(at: Option<At>, now: i64, bounds: (i64, i64)) -> i64 {
    match at {
        None => now,
        Some(At::Time(at)) => at,
        Some(At::Start) => bounds.0,
        Some(At::End) => bounds.1,
    }
}

/// Which samples every selector may be asked for, while the tree is evaluated within `times`.
fn needs<'a>(
    expr: &'a Expr,
    times: (i64, i64),
    bounds: (i64, i64),
    wanted: &mut Vec<(&'a Selector, (i64, i64))>,
) {
    let window = |at: Option<At>, offset: i64, back: i64| {
        let (from, to) = (moment(at, times.0, bounds), moment(at, times.1, bounds));
        (
            from.saturating_sub(offset).saturating_sub(back),
            to.saturating_sub(offset),
        )
    };
    match expr {
        Expr::Number(_) | Expr::Text(_) => {}
        Expr::Vector(selector) => {
            wanted.push((selector, window(selector.at, selector.offset, LOOKBACK_MS)));
        }
        Expr::Matrix(selector, range) => {
            wanted.push((selector, window(selector.at, selector.offset, *range)));
        }
        Expr::Subquery {
            expr,
            range,
            offset,
            at,
            ..
        } => needs(expr, window(*at, *offset, *range), bounds, wanted),
        Expr::Call { args, .. } => {
            for arg in args {
                needs(arg, times, bounds, wanted);
            }
        }
        Expr::Aggregate { expr, param, .. } => {
            if let Some(param) = param {
                needs(param, times, bounds, wanted);
            }
            needs(expr, times, bounds, wanted);
        }
        Expr::Binary { left, right, .. } => {
            needs(left, times, bounds, wanted);
            needs(right, times, bounds, wanted);
        }
        Expr::Negate(inner) | Expr::Paren(inner) => needs(inner, times, bounds, wanted),
    }
}

/// Refuses two elements with the same labels, which taking the name away may have made.
fn unique(elements: impl IntoIterator<Item = Element>) -> Evaluated<Vec<Element>> {
    let elements: Vec<_> = elements.into_iter().collect();
    let mut seen = HashSet::with_capacity(elements.len());
    if elements.iter().all(|element| seen.insert(&element.labels)) {
        return Ok(elements);
    }
    fail("vector cannot contain metrics with the same labelset")
}

/// Seconds of milliseconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 fit a double for 280,000 years"
)]
pub(crate) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests;
