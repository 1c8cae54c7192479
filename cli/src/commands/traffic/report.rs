//! What the users met, as text and as JSON.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use lab_traffic::{Ending, Failure, Plan, Statuses, Summary, VersionShare};
use serde::Serialize;

use crate::cli::Format;
use crate::output::{bad, blank, clock, faint, good, json, line, strong, table, warn};

/// Pods listed: more than a class deploys of one application.
const PODS: usize = 10;
/// Longest words of a failure on a screen.
const WORDS: usize = 100;

/// What scripts read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    running: bool,
    run: Option<u64>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    plan: Option<&'a Plan>,
    requests: u64,
    failed: u64,
    /// Percent.
    availability: Option<f64>,
    /// Requests per second.
    rate: Option<f64>,
    statuses: Statuses,
    latency_ms: Latency,
    versions: Vec<Share>,
    pods: Vec<Share>,
    causes: Vec<Cause>,
    failures: &'a [Failure],
    longest_outage_ms: u64,
    first_failure: Option<Timestamp>,
    last_failure: Option<Timestamp>,
    recovery_ms: Option<u64>,
    recovered: bool,
    users: Option<u32>,
    users_affected: usize,
}

#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize)]
struct Share {
    name: Option<String>,
    requests: u64,
    failed: u64,
    /// Percent.
    share: f64,
}

#[derive(Serialize)]
struct Cause {
    cause: String,
    count: u64,
    words: String,
}

impl Share {
    fn of(share: &VersionShare) -> Self {
        Self {
            name: share.name.as_ref().map(|name| name.to_string()),
            requests: share.requests,
            failed: share.failed,
            share: rounded(share.share * 100.0, 100.0),
        }
    }
}

impl<'a> Report<'a> {
    fn of(summary: &'a Summary, running: bool) -> Self {
        let run = summary.run.as_ref();
        let causes = summary.causes().into_iter();
        Self {
            running,
            run: run.map(|run| run.run),
            started: run.map(|run| run.started),
            ended: summary.end.map(|end| end.at),
            plan: run.map(|run| &run.plan),
            requests: summary.requests,
            failed: summary.failed,
            availability: summary.availability().map(percent),
            rate: summary.rate().map(|rate| rounded(rate, 10.0)),
            statuses: summary.statuses,
            latency_ms: Latency {
                p50: quantile(summary, 0.5),
                p95: quantile(summary, 0.95),
                p99: quantile(summary, 0.99),
            },
            versions: summary.versions().iter().map(Share::of).collect(),
            pods: summary.pods().iter().map(Share::of).collect(),
            causes: causes
                .map(|cause| Cause {
                    cause: cause.label,
                    count: cause.count,
                    words: cause.words,
                })
                .collect(),
            failures: &summary.failures,
            longest_outage_ms: summary.longest_outage_ms,
            first_failure: summary.first_failure,
            last_failure: summary.last_failure,
            recovery_ms: summary.recovery_ms(),
            recovered: summary.recovered(),
            users: run.map(|run| run.plan.users),
            users_affected: summary.users_affected(),
        }
    }
}

/// Rounded down, so that 100 % means that nothing failed.
pub(super) fn percent(share: f64) -> f64 {
    (share * 100_000.0).floor() / 1000.0
}

fn rounded(value: f64, steps: f64) -> f64 {
    (value * steps).round() / steps
}

fn quantile(summary: &Summary, share: f64) -> Option<f64> {
    let time = summary.latency.quantile(share)?;
    Some(rounded(time.as_secs_f64() * 1000.0, 1000.0))
}

/// Prints what the users met.
pub(super) fn print(summary: &Summary, running: bool, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Json => json(&Report::of(summary, running)),
        Format::Text => {
            text(summary, running);
            Ok(())
        }
    }
}

/// `50 requests per second for / to http://127.0.0.1:8080 from 10 users.`
pub(super) fn sentence(plan: &Plan) -> String {
    let paths: Vec<_> = plan.paths.iter().map(|path| path.path.as_str()).collect();
    let how = if plan.keep_alive {
        ""
    } else {
        ", a new connection for each"
    };
    let end = plan.duration_ms.map_or_else(String::new, |duration| {
        format!(", for {}", span(duration / 1000))
    });
    format!(
        "{} requests per second ({} {}) to {} from {} users{how}{end}.",
        plan.rate,
        plan.method,
        paths.join(" "),
        plan.target,
        plan.users
    )
}

fn text(summary: &Summary, running: bool) {
    let state = match (running, summary.end.map(|end| end.reason)) {
        (true, _) => good("running"),
        (false, Some(Ending::Stopped)) => "stopped".to_owned(),
        (false, Some(Ending::Finished)) => "finished".to_owned(),
        (false, None) => warn("not running (it was cut off)"),
    };
    let run = summary.run.as_ref();
    line(format_args!(
        "{} {state}{}",
        strong("Traffic"),
        run.map_or_else(String::new, |run| format!(
            ", began at {}",
            clock(run.started)
        ))
    ));
    if let Some(run) = run {
        line(faint(&sentence(&run.plan)));
    }
    blank();
    let Some(availability) = summary.availability() else {
        line("No request has ended yet.");
        return;
    };
    let verdict = format!("{:.3} %", percent(availability));
    let verdict = if summary.failed == 0 {
        good(&verdict)
    } else {
        bad(&verdict)
    };
    line(format_args!(
        "Requests       {}{}",
        counted(summary.requests),
        summary
            .rate()
            .map_or_else(String::new, |rate| format!(" ({rate:.1} per second)"))
    ));
    line(format_args!("Failed         {}", counted(summary.failed)));
    line(format_args!("Availability   {verdict}"));
    let time = |share| {
        quantile(summary, share).map_or_else(|| "–".to_owned(), |millis| format!("{millis:.1} ms"))
    };
    line(format_args!(
        "Latency        p50 {} · p95 {} · p99 {}",
        time(0.5),
        time(0.95),
        time(0.99)
    ));
    if let (Some(first), Some(last)) = (summary.first_failure, summary.last_failure) {
        failures(summary, first, last);
    }
    blank();
    shares("VERSION", &summary.versions(), usize::MAX);
    blank();
    shares("POD", &summary.pods(), PODS);
}

fn failures(summary: &Summary, first: Timestamp, last: Timestamp) {
    line(format_args!(
        "Longest outage {} ms without any success",
        summary.longest_outage_ms
    ));
    let recovery = summary.recovery_ms().unwrap_or(0);
    line(format_args!(
        "Recovery       first failure {}, last {} ({} ms later){}",
        exact_clock(first),
        exact_clock(last),
        recovery,
        if summary.recovered() {
            ""
        } else {
            "; not recovered yet"
        }
    ));
    if let Some(run) = &summary.run {
        line(format_args!(
            "Users          {} of {} saw a failure",
            summary.users_affected(),
            run.plan.users
        ));
    }
    blank();
    let causes: Vec<_> = summary
        .causes()
        .into_iter()
        .map(|cause| vec![cause.label, counted(cause.count), shortened(&cause.words)])
        .collect();
    table(&["CAUSE", "COUNT", "FIRST WORDS"], &causes);
    blank();
    let rows: Vec<_> = summary
        .failures
        .iter()
        .map(|failure| {
            vec![
                exact_clock(failure.at),
                failure.label(),
                backend(failure),
                format!("{:.0} ms", failure.took_ms),
                shortened(&failure.words),
            ]
        })
        .collect();
    table(
        &["FIRST FAILURES", "CAUSE", "BACKEND", "TOOK", "WORDS"],
        &rows,
    );
}

fn shares(head: &str, shares: &[VersionShare], limit: usize) {
    let rows: Vec<_> = shares
        .iter()
        .take(limit)
        .map(|share| {
            vec![
                name(share.name.as_deref()),
                format!("{:.1} %", share.share * 100.0),
                counted(share.requests),
                counted(share.failed),
            ]
        })
        .collect();
    table(&[head, "SHARE", "ANSWERS", "FAILED"], &rows);
    if shares.len() > limit {
        line(faint(&format!("and {} more", shares.len() - limit)));
    }
}

/// A version or pod; answers of applications that do not name theirs have none.
pub(super) fn name(name: Option<&str>) -> String {
    name.unwrap_or("(not told)").to_owned()
}

fn backend(failure: &Failure) -> String {
    let version = failure.backend.version.as_deref();
    match (failure.backend.pod.as_deref(), version) {
        (Some(pod), Some(version)) => format!("{pod} ({version})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "–".to_owned(),
    }
}

fn shortened(words: &str) -> String {
    console::truncate_str(words, WORDS, "…").into_owned()
}

/// `12,345`.
pub(super) fn counted(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `14:03:07.250`.
pub(super) fn exact_clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system())
        .strftime("%H:%M:%S%.3f")
        .to_string()
}

/// `1 h 02 min`, `3 min 20 s`, `45 s`.
pub(super) fn span(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(counted(0), "0");
        assert_eq!(counted(999), "999");
        assert_eq!(counted(1_234_567), "1,234,567");
        assert_eq!(span(45), "45 s");
        assert_eq!(span(200), "3 min 20 s");
        assert_eq!(span(3720), "1 h 02 min");
    }

    #[test]
    fn one_failure_in_a_million_is_not_a_hundred_percent() {
        assert!((percent(0.999_999_9) - 99.999).abs() < 1e-9);
        assert!((percent(1.0) - 100.0).abs() < 1e-9);
    }
}
