//! Which of several weighted backends is next.

use std::sync::atomic::{AtomicU64, Ordering};

/// 2^64 divided by the golden ratio: steps of this length visit a circle as evenly as any step
/// can, whatever part of the steps one looks at.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A sequence of numbers that is spread evenly from its first element on.
///
/// Independent random draws would give a weight of 10 % anything between 8 and 12 % of two
/// thousand requests. This sequence is within a few requests of the weight at any time, needs
/// no lock, and is the same for the same seed.
#[derive(Debug)]
pub(crate) struct Spread(AtomicU64);

impl Spread {
    /// A sequence that starts at a place in `0.0..1.0`.
    pub(crate) fn starting_at(place: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place on the circle; its last bits do not matter"
        )]
        let start = (place * u64::MAX as f64) as u64;
        Self(AtomicU64::new(start))
    }

    /// The next number in `0..limit`.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        let place = self.0.fetch_add(GOLDEN, Ordering::Relaxed);
        // The high half of the product, which is below the limit.
        ((u128::from(place) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab_context::Context;

    /// Counts how often each of the weights was chosen.
    fn shares(spread: &Spread, weights: &[u64], draws: usize, every: usize) -> Vec<f64> {
        let total = weights.iter().sum();
        let mut counts = vec![0_u32; weights.len()];
        for draw in 0..draws * every {
            let mut place = spread.below(total);
            let chosen = weights.iter().position(|weight| {
                let here = place < *weight;
                place = place.saturating_sub(*weight);
                here
            });
            if draw % every == 0 {
                counts[chosen.unwrap()] += 1;
            }
        }
        counts
            .into_iter()
            .map(|count| f64::from(count) / draws as f64)
            .collect()
    }

    #[tokio::test]
    async fn two_thousand_requests_are_within_two_points_of_the_weights() {
        let context = Context::simulated(11, 1.0);
        for weights in [[90, 10], [50, 50], [99, 1], [1, 2], [70, 30]] {
            for every in [1, 2, 3, 5, 8] {
                let spread = Spread::starting_at(context.random());
                let total: u64 = weights.iter().sum();
                for (share, weight) in shares(&spread, &weights, 2000, every).iter().zip(weights) {
                    let wanted = weight as f64 / total as f64;
                    assert!(
                        (share - wanted).abs() < 0.02,
                        "{weights:?}/{every}: {share} for {wanted}"
                    );
                }
            }
        }
    }
}
