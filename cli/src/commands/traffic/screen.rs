//! The picture that `watch` draws: from what was read of the record to lines of text.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lab_traffic::{Entry, Failure, Second, Summary};

use super::report::{counted, exact_clock, name, percent, span};
use crate::output::{bad, clock, faint, good, strong, warn};

/// Seconds kept for the curves: as many as the widest terminal has room for.
const SECONDS: usize = 240;
/// Failures shown below.
const FAILURES: usize = 5;
/// Seconds over which the shares of versions are taken.
const SHARE_SECONDS: i64 = 10;
/// Columns before the curves.
const MARGIN: usize = 34;
const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What was read of the record so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) summary: Summary,
    seconds: VecDeque<Second>,
    failures: VecDeque<Failure>,
}

impl Seen {
    pub(super) fn add(&mut self, entry: Entry) {
        if let Entry::Run(run) = &entry
            && self
                .summary
                .run
                .as_ref()
                .is_some_and(|seen| seen.run != run.run)
        {
            *self = Self::default();
        }
        self.summary.add(&entry);
        match entry {
            Entry::Second(second) => push(&mut self.seconds, second, SECONDS),
            Entry::Failure(failure) => push(&mut self.failures, failure, FAILURES),
            Entry::Run(_) | Entry::End(_) => {}
        }
    }

    /// The picture, at most `width` columns wide; `now` is in seconds since 1970.
    pub(super) fn draw(&self, now: i64, running: bool, width: usize) -> Vec<String> {
        let mut lines = self.heading(now, running, width);
        lines.push(String::new());
        if self.summary.requests == 0 {
            lines.push("Waiting for the first answers …".to_owned());
            return lines;
        }
        lines.extend(self.curves(now, width));
        lines.push(String::new());
        lines.extend(self.versions(now, width));
        if !self.failures.is_empty() {
            lines.push(String::new());
            lines.push(faint("LAST FAILURES"));
            lines.extend(self.failures.iter().rev().map(failure_line));
        }
        lines
            .iter()
            .map(|line| console::truncate_str(line, width, "…").into_owned())
            .collect()
    }

    fn heading(&self, now: i64, running: bool, width: usize) -> Vec<String> {
        let Some(run) = &self.summary.run else {
            return Vec::new();
        };
        let end = self.summary.end.map(|end| end.at.as_second());
        let last = end.or(self.summary.span.map(|(_, last)| last));
        let until = if running { now } else { last.unwrap_or(now) };
        let age = u64::try_from(until - run.started.as_second()).unwrap_or(0);
        let state = if running {
            good("running")
        } else {
            warn("ended")
        };
        let keep = if run.plan.keep_alive {
            ""
        } else {
            " · no keep-alive"
        };
        let plan = format!("{}/s · {} users{keep}", run.plan.rate, run.plan.users);
        let left = format!("{} {}", strong("Traffic to"), run.plan.target);
        let right = format!("{plan} · {state} {}", span(age));
        vec![apart(&left, &right, width)]
    }

    fn curves(&self, now: i64, width: usize) -> Vec<String> {
        let columns = width.saturating_sub(MARGIN).min(SECONDS);
        // The second under way is not over.
        let from = now - i64::try_from(columns).unwrap_or(0);
        let series = |value: &dyn Fn(&Second) -> f64| {
            let mut values = vec![None; columns];
            for second in &self.seconds {
                if let Ok(place) = usize::try_from(second.at - from)
                    && let Some(slot) = values.get_mut(place)
                {
                    *slot = Some(value(second));
                }
            }
            sparkline(&values)
        };
        let last = self.seconds.back().filter(|second| second.at >= now - 2);
        let rate = last.map_or(0, |second| second.requests);
        let failing = last.map_or(0, |second| second.failed);
        let summary = &self.summary;
        let failed = format!(
            "{:<9}{:>9}{:>9}/s",
            "failed",
            counted(summary.failed),
            failing
        );
        let failed_curve = series(&|second| second.failed as f64);
        let time = |share| {
            let time = last.and_then(|second| second.latency.quantile(share));
            time.map_or_else(|| "–".to_owned(), millis)
        };
        let availability = percent(summary.availability().unwrap_or(1.0));
        let availability = format!("{availability:.3} %");
        let outage = if summary.failed == 0 {
            String::new()
        } else {
            format!(
                " · longest outage {} ms · {} of {} users saw a failure",
                summary.longest_outage_ms,
                summary.users_affected(),
                summary.run.as_ref().map_or(0, |run| run.plan.users)
            )
        };
        let curve = |text: String, curve: String| format!("{}{curve}", padded(&text, MARGIN));
        vec![
            curve(
                format!(
                    "{:<9}{:>9}{:>9}/s",
                    "requests",
                    counted(summary.requests),
                    rate
                ),
                good(&series(&|second| second.requests as f64)),
            ),
            curve(
                if failing > 0 { bad(&failed) } else { failed },
                bad(&failed_curve),
            ),
            curve(
                format!("{:<9}{:>9}{:>11}", "latency", "p95", time(0.95)),
                series(&|second| {
                    let time = second.latency.quantile(0.95).unwrap_or_default();
                    time.as_secs_f64()
                }),
            ),
            faint(&format!(
                "         p50 {} · p99 {} in the last second",
                time(0.5),
                time(0.99)
            )),
            format!(
                "{} {}{outage}",
                "availability",
                if summary.failed == 0 {
                    good(&availability)
                } else {
                    bad(&availability)
                }
            ),
        ]
    }

    fn versions(&self, now: i64, width: usize) -> Vec<String> {
        let mut counts: BTreeMap<Option<Arc<str>>, (u64, u64)> = BTreeMap::new();
        let recent = self
            .seconds
            .iter()
            .filter(|second| second.at >= now - SHARE_SECONDS);
        for share in recent.flat_map(|second| &second.shares) {
            let count = counts.entry(share.backend.version.clone()).or_default();
            count.0 += share.requests;
            count.1 += share.failed;
        }
        let total: u64 = counts.values().map(|(requests, _)| requests).sum();
        let mut lines = vec![faint(&format!(
            "VERSION{:>27}",
            format!("share of the last {SHARE_SECONDS} s")
        ))];
        let columns = width.saturating_sub(MARGIN + 16);
        for (version, (requests, failed)) in counts {
            let share = requests as f64 / total as f64;
            let text = format!(
                "{}{:>7.1} %",
                padded(&name(version.as_deref()), 23),
                share * 100.0
            );
            let note = if failed > 0 {
                bad(&format!(" {} failed", counted(failed)))
            } else {
                String::new()
            };
            lines.push(format!(
                "{}{}{note}",
                padded(&text, MARGIN),
                bar(share, columns)
            ));
        }
        if total == 0 {
            lines.push("(no answers)".to_owned());
        }
        lines
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, limit: usize) {
    if queue.len() == limit {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn failure_line(failure: &Failure) -> String {
    let pod = failure.backend.pod.as_deref().unwrap_or_default();
    let words = [pod, failure.words.as_str()]
        .into_iter()
        .filter(|words| !words.is_empty())
        .collect::<Vec<_>>()
        .join(" · ");
    format!(
        "{}  {}  {words}",
        exact_clock(failure.at),
        bad(&failure.label())
    )
}

/// One line for a second, where nothing can be redrawn.
pub(super) fn plain(second: &Second) -> String {
    let at = jiff::Timestamp::from_second(second.at).map_or_else(|_| String::new(), clock);
    let time = |share| {
        let time = second.latency.quantile(share);
        time.map_or_else(|| "–".to_owned(), millis)
    };
    let mut versions: BTreeMap<&Option<Arc<str>>, u64> = BTreeMap::new();
    for share in &second.shares {
        *versions.entry(&share.backend.version).or_default() += share.requests;
    }
    let answers: u64 = versions.values().sum();
    let versions: Vec<_> = versions
        .into_iter()
        .map(|(version, requests)| {
            let share = requests as f64 / answers as f64 * 100.0;
            format!("{} {share:.0} %", name(version.as_deref()))
        })
        .collect();
    format!(
        "{at}  {} requests  {} failed  p50 {}  p95 {}  p99 {}  {}",
        second.requests,
        second.failed,
        time(0.5),
        time(0.95),
        time(0.99),
        versions.join(", ")
    )
}

fn millis(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 100.0 {
        format!("{millis:.1} ms")
    } else {
        format!("{millis:.0} ms")
    }
}

/// A curve of one column per second, from nothing to the highest value in it.
fn sparkline(values: &[Option<f64>]) -> String {
    let highest = values.iter().flatten().fold(0.0_f64, |a, b| a.max(*b));
    let draw = |value: &Option<f64>| match value {
        None => ' ',
        Some(value) if *value <= 0.0 || highest <= 0.0 => '·',
        Some(value) => {
            let level = (value / highest * LEVELS.len() as f64).ceil() as usize;
            LEVELS[level.clamp(1, LEVELS.len()) - 1]
        }
    };
    values.iter().map(draw).collect()
}

fn bar(share: f64, columns: usize) -> String {
    let filled = (share * columns as f64).round() as usize;
    "█".repeat(filled.min(columns))
}

/// Text filled up with blanks, or cut, to a width.
fn padded(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, Some("…")).into_owned()
}

/// Two texts at the ends of a line, or one below the other where there is no room.
fn apart(left: &str, right: &str, width: usize) -> String {
    let used = console::measure_text_width(left) + console::measure_text_width(right);
    match width.checked_sub(used).filter(|gap| *gap >= 2) {
        Some(gap) => format!("{left}{}{right}", " ".repeat(gap.min(width))),
        None => format!("{left}  {right}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(line: &str) -> Entry {
        serde_json::from_str(line).unwrap()
    }

    fn seen() -> Seen {
        let mut seen = Seen::default();
        seen.add(entry(
            r#"{"run":{"version":1,"run":3,"started":"2026-01-01T00:00:00Z","plan":{"target":{"address":"127.0.0.1:8080","authority":"127.0.0.1:8080"},"rate":50,"users":10,"paths":[{"path":"/","weight":1}],"method":"GET","keepAlive":true,"timeoutMs":5000}}}"#,
        ));
        for second in 0..60 {
            let failed = u64::from(second == 30) * 5;
            seen.add(entry(&format!(
                r#"{{"second":{{"at":{},"requests":50,"failed":{failed},"statuses":{{"2xx":{},"5xx":{failed}}},"shares":[{{"version":"1.0.0","pod":"hello-1","requests":40}},{{"version":"2.0.0","pod":"hello-2","requests":10,"failed":{failed}}}],"latency":[[120,50]],"outageMs":{}}}}}"#,
                1_767_225_600 + second,
                50 - failed,
                failed * 20,
            )));
        }
        seen.add(entry(
            r#"{"failure":{"at":"2026-01-01T00:00:30.25Z","cause":"status","status":503,"words":"no-endpoints: 503 no ready endpoints for service default/hello:80, and a good many more words than fit","tookMs":1.2,"version":"2.0.0","pod":"hello-2","path":"/","user":3}}"#,
        ));
        seen
    }

    #[test]
    fn the_picture_fits_into_eighty_columns_and_shows_what_matters() {
        for width in [80, 120] {
            let lines = seen().draw(1_767_225_660, true, width);
            let text = console::strip_ansi_codes(&lines.join("\n")).into_owned();
            for line in text.lines() {
                assert!(console::measure_text_width(line) <= width, "{line}");
            }
            for words in [
                "Traffic to http://127.0.0.1:8080",
                "50/s · 10 users · running 1 min",
                "3,000",
                "99.833 % · longest outage 100 ms · 1 of 10 users",
                "1.0.0                     80.0 %",
                "2.0.0                     20.0 %",
                "503  hello-2 · no-endpoints",
                "p50 1.6 ms",
            ] {
                assert!(text.contains(words), "{words:?} is not in\n{text}");
            }
            assert!(lines.len() <= 20, "{} lines", lines.len());
        }
    }

    #[test]
    fn a_new_run_begins_with_an_empty_picture() {
        let mut seen = seen();
        let mut run = seen.summary.run.clone().unwrap();
        run.run += 1;
        seen.add(Entry::Run(run));
        assert_eq!(seen.summary.requests, 0);
        let lines = seen.draw(1_767_225_660, true, 80);
        assert!(lines.join("\n").contains("Waiting for the first answers"));
    }

    #[test]
    fn without_a_terminal_each_second_is_a_line() {
        let line = plain(seen().seconds.back().unwrap());
        assert!(
            line.contains("50 requests  0 failed") && line.contains("1.0.0 80 %, 2.0.0 20 %"),
            "{line}"
        );
    }

    #[test]
    fn a_curve_goes_from_nothing_to_the_highest_value() {
        let values = [None, Some(0.0), Some(1.0), Some(4.0), Some(8.0)];
        assert_eq!(sparkline(&values), " ·▁▄█");
    }
}
