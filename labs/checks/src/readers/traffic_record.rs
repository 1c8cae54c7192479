//! What the learner's own traffic met: the record of `devops-lab traffic`, as checks read it.
//!
//! Only what happened since she began the lab counts, and, where users are meant, only requests
//! to the load balancer's production listener: a stream to elsewhere shows nothing about them.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use lab_traffic::{Cause, Entry, Failure, Plan, Record, RecordError, Second};

use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::language::Language;

/// Everything that was recorded since the lab began, run by run.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrafficRecord {
    /// Oldest first.
    runs: Vec<TrafficRun>,
}

/// One run of `devops-lab traffic`, as far as it lies in the lab's time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TrafficRun {
    number: u64,
    pub(crate) started: Timestamp,
    /// Whether it went to the load balancer's production listener.
    production: bool,
    /// When it ended in order; none while it goes on, or where it was killed.
    pub(crate) ended: Option<Timestamp>,
    pub(crate) seconds: Vec<RecordedSecond>,
    pub(crate) failures: Vec<RecordedFailure>,
}

/// A second that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordedSecond {
    /// Since 1970.
    pub(crate) at: i64,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedFailure {
    pub(crate) at: Timestamp,
    /// None where there was no answer.
    pub(crate) status: Option<u16>,
    /// The version that answered, where it said so.
    pub(crate) version: Option<Arc<str>>,
    /// The pod that answered, where it said so.
    pub(crate) pod: Option<Arc<str>>,
    cause: Cause,
    /// The reason in the words of the load balancer, the application or the system.
    words: String,
}

impl RecordedFailure {
    /// When, what and who, for people.
    pub(crate) fn text(&self, language: Language) -> String {
        let at = self.at.strftime("%H:%M:%S%.3fZ");
        let what = match self.status {
            Some(status) => status.to_string(),
            None => missing_answer(self.cause, language).to_owned(),
        };
        let words = match self.words.as_str() {
            "" => String::new(),
            words => format!(" {words}"),
        };
        let who = match (&self.pod, language) {
            (Some(pod), Language::En | Language::Fr) => format!("pod {pod}"),
            (None, Language::En) => "no pod is known".to_owned(),
            (None, Language::Fr) => "pod inconnu".to_owned(),
        };
        format!("{at} {what}{words} ({who})")
    }
}

/// Why there was no answer with a status.
fn missing_answer(cause: Cause, language: Language) -> &'static str {
    match (cause, language) {
        (cause, Language::En) => cause.words(),
        (Cause::Status, Language::Fr) => "statut d’erreur",
        (Cause::Refused, Language::Fr) => "connexion refusée",
        (Cause::Closed, Language::Fr) => "connexion interrompue",
        (Cause::Timeout, Language::Fr) => "délai dépassé",
        (Cause::Invalid, Language::Fr) => "réponse invalide",
    }
}

/// The figures that `devops-lab traffic report` tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TrafficFigures {
    /// Requests that ended.
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) failures: u64,
    /// The share of requests that succeeded, in per cent.
    pub(crate) availability: f64,
    /// Seconds from the first failure to the last; 0 without failures.
    pub(crate) outage_seconds: f64,
}

impl TrafficRecord {
    /// Reads what was recorded since the lab began; empty where there is nothing.
    pub(crate) async fn read(context: &CheckContext) -> Result<Self, Diagnosis> {
        let Some(dir) = context.desk.traffic.clone() else {
            return Ok(Self::default());
        };
        let production = authority(&context.addresses.production);
        let since = context.desk.since;
        let read = move || Self::of(&dir, since, &production);
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.map_err(|error| unreadable(&error))?;
        read.map_err(|error| unreadable(&error))
    }

    /// Reads the record in `dir` from a moment on. `production` is how the production listener is
    /// written in a URL: `127.0.0.1:8080`.
    fn of(dir: &Path, since: Option<Timestamp>, production: &str) -> Result<Self, RecordError> {
        let record = match Record::open(dir) {
            Ok(record) => record,
            Err(RecordError::Empty { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        // The second in which the lab began belongs to it: the cluster's own times, which are
        // compared with these, are whole seconds too.
        let since = since.map_or(i64::MIN, Timestamp::as_second);
        let mut runs: Vec<TrafficRun> = Vec::new();
        for entry in record.entries()? {
            let entry = entry?;
            let in_time = entry.second() >= since;
            match entry {
                Entry::Run(run) if runs.last().is_none_or(|last| last.number != run.run) => {
                    runs.push(TrafficRun {
                        number: run.run,
                        started: run.started,
                        production: is_at(&run.plan, production),
                        ended: None,
                        seconds: Vec::new(),
                        failures: Vec::new(),
                    });
                }
                // Every file begins with the run that it belongs to.
                Entry::Run(_) => {}
                entry => {
                    if let (true, Some(run)) = (in_time, runs.last_mut()) {
                        run.add(entry);
                    }
                }
            }
        }
        runs.retain(|run| !run.seconds.is_empty() || !run.failures.is_empty());
        Ok(Self { runs })
    }

    /// What users met: the runs to the production listener, oldest first.
    pub(crate) fn of_users(&self) -> impl DoubleEndedIterator<Item = &TrafficRun> + Clone {
        self.runs.iter().filter(|run| run.production)
    }

    /// The figures of the latest run, which are those that `devops-lab traffic report` tells;
    /// none where nothing was recorded since the lab began.
    pub(crate) fn figures(&self) -> Option<TrafficFigures> {
        self.runs.last().and_then(TrafficRun::figures)
    }
}

impl TrafficRun {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Second(Second {
                at,
                requests,
                failed,
                ..
            }) => self.seconds.push(RecordedSecond {
                at,
                requests,
                failed,
            }),
            Entry::Failure(Failure {
                at,
                cause,
                status,
                words,
                backend,
                ..
            }) => self.failures.push(RecordedFailure {
                at,
                status,
                version: backend.version,
                pod: backend.pod,
                cause,
                words,
            }),
            Entry::End(end) => self.ended = Some(end.at),
            Entry::Run(_) => {}
        }
    }

    fn figures(&self) -> Option<TrafficFigures> {
        let (requests, failures) = self.between(i64::MIN, i64::MAX);
        let first = self.failures.first().map(|failure| failure.at);
        let last = self.failures.last().map(|failure| failure.at);
        let outage = first
            .zip(last)
            .map(|(first, last)| last.duration_since(first));
        (requests > 0).then(|| TrafficFigures {
            requests,
            failures,
            availability: requests.saturating_sub(failures) as f64 * 100.0 / requests as f64,
            outage_seconds: outage.map_or(0.0, |outage| outage.as_secs_f64()),
        })
    }

    /// Requests that ended from one second to another, both included, and those of them that
    /// failed.
    pub(crate) fn between(&self, from: i64, to: i64) -> (u64, u64) {
        let seconds = self.seconds.iter();
        seconds
            .filter(|second| (from..=to).contains(&second.at))
            .fold((0, 0), |(requests, failed), second| {
                (requests + second.requests, failed + second.failed)
            })
    }

    /// Those that failed from one second to another, both included.
    pub(crate) fn failed_between(
        &self,
        from: i64,
        to: i64,
    ) -> impl Iterator<Item = &RecordedFailure> {
        self.failures
            .iter()
            .filter(move |failure| (from..=to).contains(&failure.at.as_second()))
    }

    /// The last second that is over.
    pub(crate) fn last_second(&self) -> Option<i64> {
        self.seconds.last().map(|second| second.at)
    }

    /// Failures that an application or its platform is to blame for, of a version where one is
    /// named: an answer such as 404 blames the request.
    pub(crate) fn outage(&self, version: Option<&str>) -> impl Iterator<Item = &RecordedFailure> {
        self.failures
            .iter()
            .filter(|failure| failure.status.is_none_or(|status| status >= 500))
            .filter(move |failure| {
                version.is_none_or(|version| failure.version.as_deref() == Some(version))
            })
    }
}

/// `127.0.0.1:8080` of `http://localhost:8080/`.
fn authority(url: &str) -> String {
    let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
    let bare = bare.split('/').next().unwrap_or_default();
    let bare = bare.replace("localhost", "127.0.0.1");
    if bare.contains(':') {
        bare
    } else {
        format!("{bare}:80")
    }
}

fn is_at(plan: &Plan, production: &str) -> bool {
    let target = &plan.target;
    target.address.to_string() == production || authority(&target.authority) == production
}

fn unreadable(error: &dyn std::error::Error) -> Diagnosis {
    Diagnosis::TrafficUnreadable {
        problem: crate::read::root_cause(error),
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// 2026-01-01T00:00:00Z, which the samples' seconds count from.
    pub(crate) const START: i64 = 1_767_225_600;

    pub(crate) fn moment(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).unwrap()
    }

    /// A run of ten requests per second from one second to another, which goes on.
    pub(crate) fn run(from: i64, to: i64) -> TrafficRun {
        let second = |at| RecordedSecond {
            at: START + at,
            requests: 10,
            failed: 0,
        };
        TrafficRun {
            number: 1,
            started: moment(from),
            production: true,
            ended: None,
            seconds: (from..=to).map(second).collect(),
            failures: Vec::new(),
        }
    }

    impl TrafficRun {
        /// The same with a failed request in each of these seconds.
        pub(crate) fn failing(mut self, seconds: impl IntoIterator<Item = i64>) -> Self {
            for at in seconds {
                let second = self
                    .seconds
                    .iter_mut()
                    .find(|second| second.at == START + at);
                second.expect("a second of the run").failed += 1;
                self.failures.push(RecordedFailure {
                    at: moment(at),
                    status: Some(500),
                    version: Some("2.0.0".into()),
                    pod: Some("hello-1-1".into()),
                    cause: Cause::Status,
                    words: String::new(),
                });
            }
            self
        }

        /// The same, ended in order after its last second.
        pub(crate) fn stopped(mut self) -> Self {
            self.ended = self
                .last_second()
                .and_then(|at| Timestamp::from_second(at + 1).ok());
            self
        }

        /// The same with requests to another place than the production listener.
        pub(crate) fn elsewhere(mut self) -> Self {
            self.production = false;
            self
        }
    }

    pub(crate) fn record(runs: impl IntoIterator<Item = TrafficRun>) -> TrafficRecord {
        TrafficRecord {
            runs: runs.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use lab_traffic::{End, Ending, Neighbourhood, Target, Writer};

    use super::samples::{START, moment};
    use super::*;

    fn write(dir: &Path, url: &str, started: i64, lines: &[&str]) {
        let (target, _) = Target::parse(url, &Neighbourhood::loopback()).unwrap();
        let mut writer = Writer::begin(dir, Plan::new(target), moment(started)).unwrap();
        let entries: Vec<Entry> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        writer.append(&entries).unwrap();
        let end = Entry::End(End {
            at: moment(started + 60),
            reason: Ending::Stopped,
        });
        writer.append(&[end]).unwrap();
    }

    fn second(at: i64, requests: u64, failed: u64) -> String {
        let at = START + at;
        format!(
            r#"{{"second":{{"at":{at},"requests":{requests},"failed":{failed},"statuses":{{}},"shares":[],"latency":[]}}}}"#
        )
    }

    fn failure(at: i64, status: u16) -> String {
        format!(
            r#"{{"failure":{{"at":"{}","cause":"status","status":{status},"tookMs":1,"version":"2.0.0","path":"/","user":1}}}}"#,
            moment(at)
        )
    }

    #[test]
    fn only_what_lies_in_the_labs_time_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let read = |since| TrafficRecord::of(dir.path(), since, "127.0.0.1:8080").unwrap();
        assert_eq!(read(None), TrafficRecord::default());
        let lines = [
            failure(5, 503),
            second(5, 10, 1),
            failure(9, 500),
            second(9, 10, 1),
            second(10, 20, 0),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        write(dir.path(), "http://localhost:8080", 0, &lines);

        let all = read(None).figures().unwrap();
        assert_eq!(
            (
                all.requests,
                all.failures,
                all.availability,
                all.outage_seconds
            ),
            (40, 2, 95.0, 4.0)
        );
        let late = read(Some(moment(9))).figures().unwrap();
        assert_eq!(
            (late.requests, late.failures, late.outage_seconds),
            (30, 1, 0.0)
        );
        assert_eq!(read(Some(moment(200))).figures(), None);
        // The latest run is what the report tells of.
        write(
            dir.path(),
            "http://127.0.0.1:8080",
            100,
            &[&second(101, 7, 0)],
        );
        let latest = read(None).figures().unwrap();
        assert_eq!((latest.requests, latest.availability), (7, 100.0));
        assert_eq!(read(None).of_users().count(), 2);
    }

    #[test]
    fn requests_to_elsewhere_are_not_those_of_users() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "http://127.0.0.1:8081", 0, &[&second(1, 10, 0)]);
        let read =
            |production| TrafficRecord::of(dir.path(), None, &authority(production)).unwrap();
        assert_eq!(read("http://127.0.0.1:8080").of_users().count(), 0);
        assert_eq!(read("http://localhost:8081/").of_users().count(), 1);
        assert!(read("http://127.0.0.1:8080").figures().is_some());
    }

    #[test]
    fn an_answer_that_blames_the_request_is_no_outage() {
        let dir = tempfile::tempdir().unwrap();
        let lines = [failure(1, 404), failure(2, 500), second(2, 10, 2)];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        write(dir.path(), "http://127.0.0.1:8080", 0, &lines);
        let record = TrafficRecord::of(dir.path(), None, "127.0.0.1:8080").unwrap();
        let run = record.of_users().next().unwrap();
        assert_eq!(run.outage(None).count(), 1);
        assert_eq!(run.outage(Some("2.0.0")).count(), 1);
        assert_eq!(run.outage(Some("1.0.0")).count(), 0);
        assert_eq!(run.between(i64::MIN, i64::MAX), (10, 2));
        assert_eq!(run.ended, Some(moment(60)));
    }

    #[test]
    fn a_failure_says_when_what_and_who() {
        let dir = tempfile::tempdir().unwrap();
        let closed = format!(
            r#"{{"failure":{{"at":"{}.5Z","cause":"closed","words":"reset","tookMs":1,"path":"/","user":1}}}}"#,
            moment(2).to_string().trim_end_matches('Z')
        );
        write(
            dir.path(),
            "http://127.0.0.1:8080",
            0,
            &[&failure(1, 503), &closed, &second(2, 10, 2)],
        );
        let record = TrafficRecord::of(dir.path(), None, "127.0.0.1:8080").unwrap();
        let run = record.of_users().next().unwrap();
        let said = |language| -> Vec<_> {
            let failed = run.failed_between(START + 1, START + 2);
            failed.map(|failure| failure.text(language)).collect()
        };
        assert_eq!(
            said(Language::En),
            [
                "00:00:01.000Z 503 (no pod is known)",
                "00:00:02.500Z connection closed reset (no pod is known)"
            ]
        );
        assert_eq!(
            said(Language::Fr)[1],
            "00:00:02.500Z connexion interrompue reset (pod inconnu)"
        );
        assert_eq!(run.failed_between(START + 2, START + 9).count(), 1);
    }
}
