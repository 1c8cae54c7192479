//! Faults of a route: a share of its requests waits, or fails. See [`lab_api::faults`].

use http::StatusCode;
use lab_api::faults::{self, Abort, Annotations, Delay, Share};
use lab_context::Context;

use super::Spread;

/// What is to go wrong on purpose with the requests of one route.
#[derive(Debug)]
pub(crate) struct Faults {
    delay: Option<(Delay, Spread)>,
    abort: Option<(Abort, Spread)>,
}

impl Faults {
    /// What the annotations of a route ask for, if anything.
    pub(crate) fn of(annotations: Option<&Annotations>, context: &Context) -> Option<Self> {
        let spread = || Spread::starting_at(context.random());
        let delay = faults::delay(annotations).map(|delay| (delay, spread()));
        let abort = faults::abort(annotations).map(|abort| (abort, spread()));
        (delay.is_some() || abort.is_some()).then_some(Self { delay, abort })
    }

    /// Plays them on one request: it waits if it is its turn; a status is to be its answer.
    pub(crate) async fn play(&self) -> Option<StatusCode> {
        if let Some((delay, spread)) = &self.delay
            && hits(delay.share, spread)
        {
            tokio::time::sleep(delay.wait).await;
        }
        let (abort, spread) = self.abort.as_ref()?;
        hits(abort.share, spread)
            .then(|| StatusCode::from_u16(abort.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE))
    }
}

/// The spread is even, so that a share of 20 % is two of any ten requests.
fn hits(share: Share, spread: &Spread) -> bool {
    spread.below(Share::ALL.of_ten_thousand()) < share.of_ten_thousand()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn faults(annotations: &[(&str, &str)]) -> Option<Faults> {
        let annotations = annotations
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Faults::of(Some(&annotations), &Context::simulated(3, 1.0))
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_requests_fails_and_half_of_them_wait() {
        let faults = faults(&[(faults::ABORT, "20% 502"), (faults::DELAY, "50% 2s")]).unwrap();
        let began = tokio::time::Instant::now();
        let mut failed = 0;
        for _ in 0..1000 {
            if let Some(status) = faults.play().await {
                assert_eq!(status, StatusCode::BAD_GATEWAY);
                failed += 1;
            }
        }
        assert!((190..=210).contains(&failed), "{failed}");
        let waited = began.elapsed();
        let about = Duration::from_secs(1000);
        assert!(
            waited.abs_diff(about) < Duration::from_secs(20),
            "{waited:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_without_faults_costs_nothing() {
        assert!(faults(&[("other", "x")]).is_none());
        assert!(faults(&[(faults::ABORT, "nonsense")]).is_none());
    }
}
