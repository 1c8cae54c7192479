//! Samples of one series, packed: a scrape that comes on time with an unchanged value costs one
//! byte, a counter that moved three or four.
//!
//! After Gorilla (Pelkonen et al., VLDB 2015), with bytes in place of bits: times are kept as
//! the change of their distance, values as what differs from the value before.

/// Samples of one chunk. A quarter of the two hours at the usual interval, so that what is too
/// old goes in steps of half an hour.
pub(crate) const SAMPLES: u16 = 120;

/// Set in a sample's first byte where a change of distance follows.
const MOVED: u8 = 0x80;

/// A moment (milliseconds since 1970) and what was measured then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since 1970.
    pub at: i64,
    /// What was measured.
    pub value: f64,
}

/// Up to [`SAMPLES`] samples in the order of their times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    count: u16,
    first: i64,
    last: i64,
    distance: i64,
    bits: u64,
}

impl Chunk {
    /// Adds a sample, which must be later than the last one.
    pub(crate) fn push(&mut self, sample: Sample) {
        let bits = sample.value.to_bits();
        let changed = bits ^ self.bits;
        if self.count == 0 {
            self.first = sample.at;
            self.last = sample.at;
        }
        let distance = sample.at - self.last;
        let moved = distance.wrapping_sub(self.distance);
        self.head(changed, moved != 0);
        if moved != 0 {
            self.number(moved);
        }
        self.value(changed);
        self.count += 1;
        self.last = sample.at;
        self.distance = distance;
        self.bits = bits;
    }

    fn head(&mut self, changed: u64, moved: bool) {
        let (skipped, length) = extent(changed);
        let moved = if moved { MOVED } else { 0 };
        self.bytes.push(moved | (skipped << 4) | length);
    }

    /// A signed number in as few bytes as it needs (zigzag, then base 128).
    fn number(&mut self, number: i64) {
        let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
        while rest >= 0x80 {
            self.bytes.push(low_byte(rest) | 0x80);
            rest >>= 7;
        }
        self.bytes.push(low_byte(rest));
    }

    fn value(&mut self, changed: u64) {
        let (skipped, length) = extent(changed);
        let shifted = changed >> (8 * u32::from(skipped));
        self.bytes
            .extend(&shifted.to_le_bytes()[..usize::from(length)]);
    }

    /// True where no more samples fit.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= SAMPLES
    }

    /// Gives back what was reserved for growth.
    pub(crate) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Time of the first sample.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// Time of the last sample.
    pub(crate) fn last(&self) -> i64 {
        self.last
    }

    /// The last value, bit by bit.
    pub(crate) fn last_value(&self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    /// Its samples, in order.
    pub(crate) fn iter(&self) -> Samples<'_> {
        Samples {
            bytes: &self.bytes,
            left: self.count,
            at: self.first,
            distance: 0,
            bits: 0,
        }
    }
}

fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

/// How many low bytes are zero, and how many bytes follow up to the highest that is not.
fn extent(changed: u64) -> (u8, u8) {
    if changed == 0 {
        return (0, 0);
    }
    let skipped = changed.trailing_zeros() / 8;
    let top = 8 - changed.leading_zeros() / 8;
    let small = |number: u32| u8::try_from(number).expect("a number has eight bytes");
    (small(skipped), small(top - skipped))
}

/// Unpacks a [`Chunk`].
pub(crate) struct Samples<'a> {
    bytes: &'a [u8],
    left: u16,
    at: i64,
    distance: i64,
    bits: u64,
}

impl Samples<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self
            .bytes
            .split_first()
            .expect("a chunk holds as many samples as it counts");
        self.bytes = rest;
        *first
    }

    fn number(&mut self) -> i64 {
        let (mut number, mut shift) = (0_u64, 0);
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
            }
        }
    }
}

impl Iterator for Samples<'_> {
    type Item = Sample;

    fn next(&mut self) -> Option<Sample> {
        self.left = self.left.checked_sub(1)?;
        let head = self.byte();
        if head & MOVED != 0 {
            self.distance = self.distance.wrapping_add(self.number());
        }
        self.at += self.distance;
        let (skipped, length) = (u32::from(head >> 4 & 0x7), usize::from(head & 0xf));
        let mut changed = [0; 8];
        for place in changed.iter_mut().take(length) {
            *place = self.byte();
        }
        self.bits ^= u64::from_le_bytes(changed) << (8 * skipped);
        Some(Sample {
            at: self.at,
            value: f64::from_bits(self.bits),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn packed(samples: &[Sample]) -> Chunk {
        let mut chunk = Chunk::default();
        for sample in samples {
            chunk.push(*sample);
        }
        chunk
    }

    #[track_caller]
    fn survives(samples: &[Sample]) {
        let chunk = packed(samples);
        let bits = |sample: &Sample| (sample.at, sample.value.to_bits());
        let back: Vec<_> = chunk.iter().map(|sample| bits(&sample)).collect();
        assert_eq!(back, samples.iter().map(bits).collect::<Vec<_>>());
        assert_eq!(chunk.len(), samples.len());
    }

    /// A value of any kind: whole, broken, endless, not a number, or any bits at all.
    fn any_value(rng: &mut StdRng, before: f64) -> f64 {
        match rng.random_range(0..8) {
            0 => before,
            1 => before + 1.0,
            2 => f64::from(rng.random_range(-1_000_000..1_000_000)),
            3 => rng.random(),
            4 => f64::NAN,
            5 => f64::INFINITY * if rng.random() { 1.0 } else { -1.0 },
            6 => super::super::stale(),
            _ => f64::from_bits(rng.random()),
        }
    }

    #[test]
    fn any_samples_come_back_bit_by_bit() {
        for seed in 0..500 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut at = rng.random_range(-5_000..4_000_000_000_000);
            let mut value = 0.0;
            let count = rng.random_range(0..=usize::from(SAMPLES));
            let samples: Vec<_> = (0..count)
                .map(|_| {
                    at += match rng.random_range(0..4) {
                        0 => 15_000,
                        1 => rng.random_range(14_990..15_010),
                        2 => 1,
                        _ => rng.random_range(1..10_000_000_000),
                    };
                    value = any_value(&mut rng, value);
                    Sample { at, value }
                })
                .collect();
            survives(&samples);
        }
    }

    #[test]
    fn a_gauge_that_stands_still_costs_a_byte_and_a_counter_four() {
        let every = |f: &dyn Fn(u32) -> f64| {
            let samples: Vec<_> = (0..u32::from(SAMPLES))
                .map(|i| Sample {
                    at: 1_700_000_000_000 + i64::from(i) * 15_000,
                    value: f(i),
                })
                .collect();
            packed(&samples).bytes.len()
        };
        assert!(every(&|_| 42.0) < 150, "{}", every(&|_| 42.0));
        let counter = every(&|i| f64::from(100_000 + i * 37));
        assert!(counter < 120 * 4, "{counter}");
    }
}
