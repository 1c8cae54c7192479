//! The stream on paused time with a service that exists only here, and HTTP over loopback.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::outcome::{Backend, Cause, Reply};
use crate::plan::Target;
use crate::record::Record;
use crate::summary::Summary;

fn plan() -> Plan {
    let (target, _) = Target::parse("http://127.0.0.1:8080", &Neighbourhood::loopback()).unwrap();
    Plan::new(target)
}

/// A service that answers as a function says.
struct Service<F>(Arc<F>);

impl<F, R> Transport for Service<F>
where
    F: Fn(u64) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send,
{
    fn ask(&mut self, number: u64) -> impl Future<Output = Reply> + Send {
        (self.0)(number)
    }

    fn reset(&mut self) {}
}

fn answered(status: u16, version: &str) -> Reply {
    Reply::Answered {
        status,
        backend: Backend {
            version: Some(version.into()),
            pod: Some("pod-1".into()),
        },
        words: String::new(),
    }
}

struct Recorded {
    summary: Summary,
    record: Record,
    bytes: u64,
    _dir: tempfile::TempDir,
}

/// Carries out a plan against a service to the plan's end.
async fn carry_out<F, R>(plan: Plan, service: F) -> Recorded
where
    F: Fn(u64) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    let dir = tempfile::tempdir().unwrap();
    let service = Arc::new(service);
    let context = Context::simulated(1, 1.0);
    let connect = |_: &Arc<Plan>, _| Service(Arc::clone(&service));
    let ending = run_with(plan, connect, dir.path(), context, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(ending, Ending::Finished);
    let record = Record::open(dir.path()).unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap().flatten();
    Recorded {
        summary: record.summary(None, None).unwrap(),
        record,
        bytes: files.map(|file| file.metadata().unwrap().len()).sum(),
        _dir: dir,
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_held_and_every_answer_is_counted_with_its_version() {
    let plan = Plan {
        rate: 100.0,
        duration_ms: Some(10_000),
        ..plan()
    };
    let recorded = carry_out(plan, async |number: u64| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        answered(200, if number.is_multiple_of(4) { "2" } else { "1" })
    })
    .await;
    let summary = recorded.summary;
    assert!((999..=1001).contains(&summary.requests), "{summary:?}");
    assert_eq!((summary.failed, summary.availability()), (0, Some(1.0)));
    let shares: Vec<_> = summary
        .versions()
        .into_iter()
        .map(|share| {
            (
                share.name.unwrap().to_string(),
                (share.share * 100.0).round(),
            )
        })
        .collect();
    assert_eq!(shares, [("1".to_owned(), 75.0), ("2".to_owned(), 25.0)]);
    let median = summary.latency.quantile(0.5).unwrap();
    assert!((19..=22).contains(&median.as_millis()), "{median:?}");
    assert_eq!(summary.longest_outage_ms, 0);
    assert!(summary.recovered());
    let seconds = recorded.record.seconds(None, None).unwrap();
    assert!(
        seconds
            .iter()
            .skip(1)
            .take(8)
            .all(|second| (99..=101).contains(&second.requests))
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_recorded_with_its_length_its_cause_and_its_end() {
    let plan = Plan {
        rate: 50.0,
        duration_ms: Some(10_000),
        ..plan()
    };
    // From the third second on, for two and a half seconds, nobody answers.
    let recorded = carry_out(plan, async |number: u64| {
        if (150..275).contains(&number) {
            answered(503, "1")
        } else {
            answered(200, "1")
        }
    })
    .await;
    let summary = recorded.summary;
    assert_eq!(summary.failed, 125);
    assert!(
        (2480..=2520).contains(&summary.longest_outage_ms),
        "{summary:?}"
    );
    assert!((2460..=2500).contains(&summary.recovery_ms().unwrap()));
    assert!(summary.recovered());
    assert_eq!(summary.users_affected(), 10);
    let causes = summary.causes();
    assert_eq!((causes[0].label.as_str(), causes[0].count), ("503", 125));
    assert_eq!(summary.failures.len(), 10);
    let all = recorded.record.failures(None, None, 1000).unwrap();
    assert_eq!(all.len(), 125);
    assert!(
        all.iter()
            .all(|failure| failure.status == Some(503) && failure.path == "/")
    );
}

#[tokio::test(start_paused = true)]
async fn requests_stay_due_when_nobody_answers_and_none_is_left_out() {
    let plan = Plan {
        rate: 10.0,
        users: 2,
        timeout_ms: 1000,
        duration_ms: Some(5_000),
        ..plan()
    };
    let recorded = carry_out(plan, |_| std::future::pending::<Reply>()).await;
    let causes = recorded.summary.causes();
    assert_eq!((causes.len(), causes[0].label.as_str()), (1, "timeout"));
    let failures = recorded.record.failures(None, None, 100).unwrap();
    let waited = failures
        .iter()
        .filter(|failure| failure.words.contains("until one of the 2 users was free"));
    assert!(waited.count() > 20, "{failures:?}");
    assert_eq!(recorded.summary.failed, recorded.summary.requests);
    assert_eq!(recorded.summary.availability(), Some(0.0));
    assert!(!recorded.summary.recovered());
    // What was due in the last second may still be waiting for its turn.
    assert!((38..=51).contains(&recorded.summary.requests), "{causes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_requests_take_little_room() {
    let plan = Plan {
        rate: 10_000.0,
        users: 100,
        duration_ms: Some(12_000),
        ..plan()
    };
    let recorded = carry_out(plan, async |number: u64| {
        answered(if number.is_multiple_of(100) { 500 } else { 200 }, "1")
    })
    .await;
    assert!(
        recorded.summary.requests >= 119_900,
        "{:?}",
        recorded.summary.requests
    );
    assert_eq!(
        recorded.summary.failed,
        recorded.summary.requests.div_ceil(100)
    );
    assert!(recorded.bytes < 400_000, "{} bytes on disk", recorded.bytes);
}

#[tokio::test(start_paused = true)]
async fn no_more_is_kept_of_a_second_than_its_sums() {
    let (plan, context) = (plan(), Context::simulated(1, 1.0));
    let mut tally = Tally::default();
    for number in 0..200_000_u64 {
        let reply = answered(200, &format!("version-{}", number % 5000));
        let outcome = Outcome {
            user: 1,
            number,
            took: Duration::from_micros(number),
            reply,
        };
        assert!(tally.add(outcome, context.now(), &plan).is_empty());
    }
    let Some(Entry::Second(second)) = tally.close(context.now()) else {
        panic!("no second");
    };
    assert_eq!(second.requests, 200_000);
    assert!(second.shares.len() <= 65, "{} shares", second.shares.len());
    assert_eq!(
        second
            .shares
            .iter()
            .map(|share| share.requests)
            .sum::<u64>(),
        200_000
    );
    let text = serde_json::to_string(&second).unwrap();
    assert!(text.len() < 10_000, "{} bytes", text.len());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_stream_at_once_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        stopping.cancel();
    });
    let service = Arc::new(async |_| answered(200, "1"));
    let connect = |_: &Arc<Plan>, _| Service(Arc::clone(&service));
    let context = Context::simulated(1, 1.0);
    let began = Instant::now();
    run_with(plan(), connect, dir.path(), context, stop)
        .await
        .unwrap();
    assert!(began.elapsed() < Duration::from_millis(3100));
    let summary = Record::open(dir.path())
        .unwrap()
        .summary(None, None)
        .unwrap();
    assert_eq!(summary.end.unwrap().reason, Ending::Stopped);
    assert!((149..=151).contains(&summary.requests));
}

/// A server that says on each connection what its script says, one answer per request.
async fn serve(script: Vec<Vec<&'static str>>) -> (Plan, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        for answers in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() > 0 {
                    head.push(byte[0]);
                }
                log.lock().unwrap().push(String::from_utf8(head).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let url = format!("http://{address}");
    let (target, _) = Target::parse(&url, &Neighbourhood::loopback()).unwrap();
    (Plan::new(target), heard)
}

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-devops-lab-version: 1.0.0\r\nx-devops-lab-pod: hello-1\r\nset-cookie: sticky=7\r\n\r\nok";
const GATEWAY_SAYS: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 18\r\nx-devops-lab-gateway: no-endpoints\r\n\r\n503 no endpoints.\n";

#[tokio::test]
async fn a_user_keeps_its_connection_its_cookies_and_says_who_answered() {
    let (plan, heard) = serve(vec![vec![HELLO, HELLO, GATEWAY_SAYS]]).await;
    let plan = Arc::new(Plan {
        headers: vec![("X-Team".into(), "blue".into())],
        host: Some("shop.example".into()),
        ..plan
    });
    let mut user = http::HttpUser::new(&plan, 4);
    let backend = Backend {
        version: Some("1.0.0".into()),
        pod: Some("hello-1".into()),
    };
    let (status, words) = (200, String::new());
    let hello = Reply::Answered {
        status,
        backend,
        words,
    };
    assert_eq!(user.ask(0).await, hello);
    assert_eq!(user.ask(1).await, hello);
    let refused = user.ask(2).await;
    assert!(!refused.is_success());
    let Reply::Answered {
        status: 503, words, ..
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(words, "no-endpoints: 503 no endpoints.");
    let heard = heard.lock().unwrap();
    assert!(heard[0].starts_with("GET / HTTP/1.1\r\n"), "{}", heard[0]);
    assert!(heard[0].contains("host: shop.example\r\n"), "{}", heard[0]);
    assert!(heard[0].contains("x-team: blue\r\n"), "{}", heard[0]);
    assert!(
        heard[0].contains("cookie: devops-lab-user=4\r\n"),
        "{}",
        heard[0]
    );
    assert!(
        heard[1].contains("cookie: devops-lab-user=4; sticky=7\r\n"),
        "{}",
        heard[1]
    );
}

#[tokio::test]
async fn without_keep_alive_every_request_has_its_own_connection() {
    let (plan, heard) = serve(vec![vec![HELLO], vec![HELLO]]).await;
    let plan = Arc::new(Plan {
        keep_alive: false,
        ..plan
    });
    let mut user = http::HttpUser::new(&plan, 1);
    assert!(user.ask(0).await.is_success());
    assert!(user.ask(1).await.is_success());
    assert!(heard.lock().unwrap()[1].contains("connection: close\r\n"));
}

#[tokio::test]
async fn what_is_no_answer_is_told_by_its_cause() {
    let (plan, _) = serve(vec![
        vec![""],
        vec!["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort"],
        vec!["SSH-2.0-OpenSSH\r\n\r\n"],
        vec![HELLO, ""],
    ])
    .await;
    let mut user = http::HttpUser::new(&Arc::new(plan), 1);
    for expected in [Cause::Closed, Cause::Closed, Cause::Invalid] {
        let reply = user.ask(0).await;
        assert!(
            matches!(&reply, Reply::Broken { cause, .. } if *cause == expected),
            "expected {expected:?}: {reply:?}"
        );
    }
    assert!(user.ask(0).await.is_success());
    // Sent on a connection that was kept, and never answered: a user saw that.
    let reply = user.ask(1).await;
    assert!(
        matches!(
            &reply,
            Reply::Broken {
                cause: Cause::Closed,
                ..
            }
        ),
        "{reply:?}"
    );
    // The server's script is over, and its socket with it.
    let reply = user.ask(2).await;
    assert!(
        matches!(
            &reply,
            Reply::Broken {
                cause: Cause::Refused,
                ..
            }
        ),
        "{reply:?}"
    );
}
