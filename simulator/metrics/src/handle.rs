//! The way in for the rest of the program.

use std::sync::Arc;

use jiff::Timestamp;

use crate::eval::{self, Answer, EvalError, LOOKBACK_MS, MOST_STEPS};
use crate::labels::Labels;
use crate::promql::{ParseError, parse, parse_selector};
use crate::store::{Limits, Sample, Series, Store, is_stale};

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// It is no PromQL, or uses what is not supported.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It cannot be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Start, end and step make no sense.
    #[error("{0}")]
    Range(String),
}

/// Answers queries on the series of one cluster; clones share them.
#[derive(Clone, Debug)]
pub struct Handle {
    store: Arc<Store>,
    /// Step of subqueries that name none, in milliseconds.
    step_ms: i64,
}

impl Handle {
    /// With no series yet; `step_ms` is the step of subqueries that name none: the interval of
    /// scrapes.
    #[must_use]
    pub fn new(step_ms: i64) -> Self {
        Self {
            store: Arc::new(Store::new(Limits::default())),
            step_ms,
        }
    }

    /// The series themselves.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn shared_store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// The latest sample of every series that a selector matches, with its own time.
    pub(crate) fn latest(
        &self,
        selector: &str,
        at: Timestamp,
    ) -> Result<Vec<(Labels, Sample)>, QueryError> {
        let matchers = parse_selector(selector)?;
        let until = at.as_millisecond();
        let bounds = (until - LOOKBACK_MS, until);
        let found = self
            .store
            .select(&matchers, bounds, &mut usize::MAX.clone());
        let found = found.unwrap_or_default().into_iter();
        Ok(found
            .filter_map(|series| Some((series.labels, *series.samples.last()?)))
            .filter(|(_, sample)| !is_stale(sample.value))
            .collect())
    }

    /// The answer of a query at one moment.
    ///
    /// # Errors
    /// Where it is no PromQL, uses what is not supported, or cannot be evaluated.
    pub fn instant(&self, query: &str, at: Timestamp) -> Result<Answer, QueryError> {
        let expr = parse(query)?;
        let at = at.as_millisecond();
        Ok(eval::instant(&self.store, &expr, at, self.step_ms)?)
    }

    /// The answers of a query from `start` to `end`, every `step_ms` milliseconds.
    ///
    /// # Errors
    /// As for [`Handle::instant`], and where the steps are too many or go backwards.
    pub fn range(
        &self,
        query: &str,
        (start, end): (Timestamp, Timestamp),
        step_ms: i64,
    ) -> Result<Vec<Series>, QueryError> {
        let expr = parse(query)?;
        let (start, end) = (start.as_millisecond(), end.as_millisecond());
        if end < start {
            let problem = "end timestamp must not be before start time";
            return Err(QueryError::Range(problem.to_owned()));
        }
        if step_ms <= 0 {
            let problem = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(QueryError::Range(problem.to_owned()));
        }
        if (end - start) / step_ms > MOST_STEPS {
            let problem = format!(
                "exceeded maximum resolution of {MOST_STEPS} points per timeseries. Try decreasing the query resolution (?step=XX)"
            );
            return Err(QueryError::Range(problem));
        }
        let steps = (start, end, step_ms);
        Ok(eval::range(&self.store, &expr, steps, self.step_ms)?)
    }
}
