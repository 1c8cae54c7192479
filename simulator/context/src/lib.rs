//! Time, chance and identity as parameters.
//!
//! Every part of the cluster asks a [`Context`] for the time, for a uid or for a random
//! choice, so that the same seed gives the same run and a test on paused tokio time sees
//! hours pass in milliseconds. This crate knows no Kubernetes type, no file and no socket.
//!
//! Start reading at [`Context`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The letters that Kubernetes uses in generated names: no vowels, so that no word appears.
pub const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Clock, speed and source of randomness, shared by the parts of one cluster.
#[derive(Clone, Debug)]
pub struct Context {
    clock: Clock,
    speed: f64,
    rng: Arc<Mutex<StdRng>>,
}

#[derive(Clone, Debug)]
enum Clock {
    /// The machine's wall clock.
    System,
    /// A fixed start plus the tokio time elapsed since; stands still when tokio's time does.
    Tokio {
        epoch: Timestamp,
        started: tokio::time::Instant,
    },
}

impl Context {
    /// The wall clock and fresh randomness; the cluster's own waits are divided by `speed`.
    #[must_use]
    pub fn system(speed: f64) -> Self {
        Self::build(Clock::System, speed, StdRng::from_os_rng())
    }

    /// The wall clock with seeded randomness: the same choices again, at another time.
    #[must_use]
    pub fn seeded(seed: u64, speed: f64) -> Self {
        Self::build(Clock::System, speed, StdRng::seed_from_u64(seed))
    }

    /// A clock that follows tokio's (pausable) time from 2026-01-01, and seeded randomness.
    ///
    /// Must be called inside a tokio runtime.
    #[must_use]
    pub fn simulated(seed: u64, speed: f64) -> Self {
        let epoch = Timestamp::constant(1_767_225_600, 0);
        let clock = Clock::Tokio {
            epoch,
            started: tokio::time::Instant::now(),
        };
        Self::build(clock, speed, StdRng::seed_from_u64(seed))
    }

    fn build(clock: Clock, speed: f64, rng: StdRng) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 {
            speed
        } else {
            1.0
        };
        Self {
            clock,
            speed,
            rng: Arc::new(Mutex::new(rng)),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.clock {
            Clock::System => Timestamp::now(),
            Clock::Tokio { epoch, started } => *epoch + started.elapsed(),
        }
    }

    /// How much faster than real time the cluster's own waits run; 1 is real time.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// A wait of the cluster itself (heartbeat, grace, back-off, toleration), shortened by the
    /// speed. What an application's author wrote (probe periods, termination grace) is not
    /// scaled: applications live in real time.
    #[must_use]
    pub fn scale(&self, wait: Duration) -> Duration {
        wait.div_f64(self.speed)
    }

    /// A random (version 4) UUID.
    #[must_use]
    pub fn uid(&self) -> String {
        let bits: u128 = self.with_rng(|rng| rng.random());
        let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }

    /// `length` letters for a generated name.
    #[must_use]
    pub fn suffix(&self, length: usize) -> String {
        self.with_rng(|rng| {
            (0..length)
                .map(|_| char::from(NAME_ALPHABET[rng.random_range(0..NAME_ALPHABET.len())]))
                .collect()
        })
    }

    /// A number in `0.0..1.0`.
    #[must_use]
    pub fn random(&self) -> f64 {
        self.with_rng(|rng| rng.random())
    }

    /// `wait` lengthened by up to `share` of itself, so that many waiters do not move in step.
    #[must_use]
    pub fn jitter(&self, wait: Duration, share: f64) -> Duration {
        wait.mul_f64(1.0 + share * self.random())
    }

    fn with_rng<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.rng.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn simulated_time_follows_the_paused_clock() {
        let context = Context::simulated(1, 1.0);
        let before = context.now();
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(context.now().duration_since(before).as_secs(), 3600);
    }

    #[tokio::test]
    async fn the_same_seed_gives_the_same_names() {
        let one = Context::simulated(7, 1.0);
        let two = Context::simulated(7, 1.0);
        assert_eq!(one.suffix(5), two.suffix(5));
        assert_eq!(one.uid(), two.uid());
        assert_ne!(one.uid(), one.uid());
    }

    #[tokio::test]
    async fn uids_are_version_four() {
        let uid = Context::simulated(3, 1.0).uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(&uid[14..15], "4");
        assert!("89ab".contains(&uid[19..20]));
    }

    #[tokio::test]
    async fn speed_shortens_the_clusters_own_waits() {
        let context = Context::simulated(1, 10.0);
        assert_eq!(
            context.scale(Duration::from_secs(40)),
            Duration::from_secs(4)
        );
    }
}
