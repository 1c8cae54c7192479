//! Two hours of series in memory, bounded.
//!
//! | bound | number | what happens there |
//! |---|---|---|
//! | age | 2 hours | older chunks go as new samples come |
//! | series | 20,000 | further new series are refused, and counted |
//! | memory | 24 MiB of samples and labels | the oldest chunks of all series go, and are counted |
//!
//! A class has some hundred series (a pod of the sample app about 40, the load balancer about
//! 20 per route), which is less than a mebibyte over the two hours: a sample takes one to four
//! bytes (see `chunk.rs`), a series about 700 bytes for its labels and places.

mod chunk;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{PoisonError, RwLock};

use chunk::Chunk;
pub use chunk::Sample;

use crate::labels::{Labels, NAME, Text};
use crate::promql::ast::Matcher;

/// How long samples are kept, in milliseconds.
pub const RETENTION_MS: i64 = 2 * 3_600_000;

/// Bounds of a [`Store`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most series at a time.
    pub series: usize,
    /// Most bytes of samples and labels.
    pub bytes: usize,
    /// Age at which samples are forgotten, in milliseconds.
    pub retention_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 20_000,
            bytes: 24 << 20,
            retention_ms: RETENTION_MS,
        }
    }
}

/// The value that ends a series: a NaN of Prometheus' own that no target exposes.
#[must_use]
pub fn stale() -> f64 {
    f64::from_bits(0x7ff0_0000_0000_0002)
}

/// True for the value that ends a series.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == stale().to_bits()
}

/// Why a sample was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// It is older than the series' last one.
    #[error("the sample is older than the last one of its series")]
    OutOfOrder,
    /// There is another value for the moment.
    #[error("the series has another value for this moment")]
    Duplicate,
    /// It is older than what is kept.
    #[error("the sample is older than what is kept")]
    TooOld,
    /// There are as many series as may be.
    #[error("there are as many series as may be; delete targets, or expose fewer labels")]
    TooManySeries,
}

/// What a store holds and has let go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series at present.
    pub series: usize,
    /// Samples at present.
    pub samples: usize,
    /// Bytes at present, of samples and labels.
    pub bytes: usize,
    /// Samples added since the start.
    pub appended: u64,
    /// Samples refused because their time was not later than the last.
    pub out_of_order: u64,
    /// Samples of new series refused at the bound on series.
    pub series_refused: u64,
    /// Samples let go before their time at the bound on memory.
    pub samples_dropped: u64,
    /// Time of the oldest sample, in milliseconds.
    pub oldest: Option<i64>,
}

/// A series with some of its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is.
    pub labels: Labels,
    /// In the order of their times.
    pub samples: Vec<Sample>,
}

/// Series by label; shared by reference.
#[derive(Debug, Default)]
pub struct Store {
    limits: Limits,
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<Labels, u32>,
    by_name: HashMap<Text, Vec<u32>>,
    series: BTreeMap<u32, Kept>,
    texts: HashSet<Text>,
    next: u32,
    newest: i64,
    cleaned: i64,
    stats: Stats,
}

#[derive(Debug)]
struct Kept {
    labels: Labels,
    chunks: VecDeque<Chunk>,
}

impl Kept {
    fn size(&self) -> usize {
        // Key and value of two maps and the list by name, beside the labels themselves.
        const PLACES: usize = 128;
        let chunks: usize = self.chunks.iter().map(Chunk::size).sum();
        PLACES + self.labels.len() * size_of::<(Text, Text)>() + chunks
    }

    /// Adds a later sample; answers by how many bytes the series grew.
    fn push(&mut self, sample: Sample) -> isize {
        let size = |chunk: &Chunk| chunk.size().cast_signed();
        if let Some(chunk) = self.chunks.back_mut()
            && !chunk.is_full()
        {
            let before = size(chunk);
            chunk.push(sample);
            return size(chunk) - before;
        }
        let sealed = self.chunks.back_mut().map_or(0, |full| {
            let before = size(full);
            full.seal();
            size(full) - before
        });
        let mut fresh = Chunk::default();
        fresh.push(sample);
        let grown = sealed + size(&fresh);
        self.chunks.push_back(fresh);
        grown
    }

    fn last(&self) -> Option<Sample> {
        let chunk = self.chunks.back()?;
        Some(Sample {
            at: chunk.last(),
            value: chunk.last_value(),
        })
    }
}

/// Time between two looks for what is too old.
const CLEANING_MS: i64 = 60_000;
/// Time that is let go at once at the bound on memory.
const STEP_MS: i64 = 5 * 60_000;

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inner: RwLock::default(),
        }
    }

    /// Adds a sample to the series with these labels, which is made where it is missing.
    ///
    /// # Errors
    /// Where the sample is not later than the last one, or a bound is reached.
    pub fn append(&self, labels: &Labels, sample: Sample) -> Result<(), Rejected> {
        let mut inner = self.write();
        inner.append(labels, sample, &self.limits)
    }

    /// Every series that matches, with its samples in `from..=to` (milliseconds). A series
    /// without samples there is left out. At most `budget` samples are unpacked; `None` beyond.
    #[must_use]
    pub fn select(
        &self,
        matchers: &[Matcher],
        (from, to): (i64, i64),
        budget: &mut usize,
    ) -> Option<Vec<Series>> {
        let inner = self.read();
        let mut found = Vec::new();
        for kept in inner.matching(matchers) {
            let within = |chunk: &&Chunk| chunk.last() >= from && chunk.first() <= to;
            let mut samples = Vec::new();
            for chunk in kept.chunks.iter().filter(within) {
                *budget = budget.checked_sub(chunk.len())?;
                let wanted = chunk.iter().filter(|s| s.at >= from && s.at <= to);
                samples.extend(wanted);
            }
            if !samples.is_empty() {
                let labels = kept.labels.clone();
                found.push(Series { labels, samples });
            }
        }
        found.sort_by(|one, other| one.labels.cmp(&other.labels));
        Some(found)
    }

    /// The labels of every series that matches and has samples in `from..=to` (milliseconds).
    #[must_use]
    pub fn labels(&self, matchers: &[Matcher], (from, to): (i64, i64)) -> Vec<Labels> {
        let inner = self.read();
        let lives = |kept: &&Kept| {
            let within = |chunk: &Chunk| chunk.last() >= from && chunk.first() <= to;
            kept.chunks.iter().any(within)
        };
        let found = inner.matching(matchers).filter(lives);
        let mut found: Vec<_> = found.map(|kept| kept.labels.clone()).collect();
        found.sort();
        found
    }

    /// What it holds and has let go.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = self.read();
        let chunks = || inner.series.values().flat_map(|kept| &kept.chunks);
        Stats {
            series: inner.series.len(),
            samples: chunks().map(Chunk::len).sum(),
            bytes: inner.stats.bytes,
            oldest: chunks().map(Chunk::first).min(),
            ..inner.stats
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn matching<'a>(&'a self, matchers: &'a [Matcher]) -> Box<dyn Iterator<Item = &'a Kept> + 'a> {
        let all = move |kept: &&Kept| {
            matchers
                .iter()
                .all(|matcher| matcher.matches(kept.labels.get(&matcher.name)))
        };
        let names = matchers.iter().filter(|matcher| matcher.name == NAME);
        let name = names.into_iter().find_map(Matcher::exact);
        match name {
            Some(name) => {
                let ids = self.by_name.get(name).into_iter().flatten();
                Box::new(ids.filter_map(|id| self.series.get(id)).filter(all))
            }
            None => Box::new(self.series.values().filter(all)),
        }
    }

    fn append(&mut self, labels: &Labels, sample: Sample, limits: &Limits) -> Result<(), Rejected> {
        self.newest = self.newest.max(sample.at);
        if sample.at < self.newest - limits.retention_ms {
            return Err(Rejected::TooOld);
        }
        self.make_room(limits);
        let id = match self.ids.get(labels) {
            Some(id) => *id,
            // The end of a series that is not there is no news.
            None if is_stale(sample.value) => return Ok(()),
            None => self.admit(labels, limits)?,
        };
        let kept = self.series.get_mut(&id).expect("every id has its series");
        if let Some(last) = kept.last() {
            let same = last.value.to_bits() == sample.value.to_bits();
            match sample.at.cmp(&last.at) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal if same => return Ok(()),
                std::cmp::Ordering::Equal => {
                    self.stats.out_of_order += 1;
                    return Err(Rejected::Duplicate);
                }
                std::cmp::Ordering::Less => {
                    self.stats.out_of_order += 1;
                    return Err(Rejected::OutOfOrder);
                }
            }
        }
        let grown = kept.push(sample);
        self.stats.bytes = self.stats.bytes.saturating_add_signed(grown);
        self.stats.appended += 1;
        Ok(())
    }

    /// A new series; its texts are shared with those of the others.
    fn admit(&mut self, labels: &Labels, limits: &Limits) -> Result<u32, Rejected> {
        if self.series.len() >= limits.series {
            self.stats.series_refused += 1;
            return Err(Rejected::TooManySeries);
        }
        let id = self.next;
        self.next += 1;
        let shared: Vec<_> = labels
            .pairs()
            .iter()
            .map(|(name, value)| (self.share(name), self.share(value)))
            .collect();
        let labels = Labels::new(shared);
        let name: Text = labels.get(NAME).into();
        let name = self.share(&name);
        self.by_name.entry(name).or_default().push(id);
        self.ids.insert(labels.clone(), id);
        let kept = Kept {
            labels,
            chunks: VecDeque::with_capacity(1),
        };
        self.stats.bytes += kept.size();
        self.series.insert(id, kept);
        Ok(id)
    }

    fn share(&mut self, text: &Text) -> Text {
        if let Some(known) = self.texts.get(text) {
            return Text::clone(known);
        }
        self.texts.insert(Text::clone(text));
        Text::clone(text)
    }

    /// Lets go what is too old, and at the bound on memory what is oldest.
    fn make_room(&mut self, limits: &Limits) {
        if self.newest - self.cleaned >= CLEANING_MS {
            self.cleaned = self.newest;
            let from = self.newest - limits.retention_ms;
            self.drop_chunks(|chunk| chunk.last() < from);
        }
        while self.stats.bytes > limits.bytes {
            let chunks = self.series.values().flat_map(|kept| &kept.chunks);
            let Some(oldest) = chunks.map(Chunk::last).min() else {
                return;
            };
            let before = self.stats.bytes;
            let gone = self.drop_chunks(|chunk| chunk.last() <= oldest + STEP_MS);
            self.stats.samples_dropped += gone;
            if self.stats.bytes >= before {
                return;
            }
        }
    }

    /// Removes chunks, and series that have none left; answers the number of samples.
    fn drop_chunks(&mut self, goes: impl Fn(&Chunk) -> bool) -> u64 {
        let (mut gone, mut empty) = (0, Vec::new());
        for (id, kept) in &mut self.series {
            while let Some(chunk) = kept.chunks.front().filter(|chunk| goes(chunk)) {
                gone += chunk.len() as u64;
                kept.chunks.pop_front();
            }
            if kept.chunks.is_empty() {
                empty.push(*id);
            }
        }
        for id in &empty {
            if let Some(kept) = self.series.remove(id) {
                self.ids.remove(&kept.labels);
                let name = kept.labels.get(NAME);
                if let Some(ids) = self.by_name.get_mut(name) {
                    ids.retain(|known| known != id);
                    if ids.is_empty() {
                        self.by_name.remove(name);
                    }
                }
            }
        }
        if !empty.is_empty() {
            // A text that only this set still holds belongs to no series any more.
            self.texts.retain(|text| Text::strong_count(text) > 1);
        }
        if gone > 0 {
            self.stats.bytes = self.series.values().map(Kept::size).sum();
        }
        gone
    }
}

#[cfg(test)]
mod tests;
