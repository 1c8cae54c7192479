//! Downloads over real sockets, cut, changed and damaged.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use super::*;
use crate::testing::{Line, Room, bundle};

#[derive(Default)]
struct Seen {
    again: AtomicU32,
    passed: AtomicU64,
}

impl Watch for Seen {
    fn passed(&self, bytes: u64) {
        self.passed.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Progress for Seen {
    fn at(&self, _: u64, _: u64) {}

    fn again(&self, _: &str) {
        self.again.fetch_add(1, Ordering::Relaxed);
    }

    fn verifying(&self, _: u64) {}
}

async fn fetch(server: &str, file: &Path) -> Result<Came, DownloadError> {
    download(server, file, Duration::ZERO, &Seen::default()).await
}

/// Names of the files in a directory.
fn left(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().flatten();
    names
        .map(|it| it.file_name().to_string_lossy().into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_machines_fetch_the_same_bundle_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let room = Room::open(Some(&file)).await;
    let packed = fs::read(&file).unwrap();
    let mut machines = tokio::task::JoinSet::new();
    for number in 0..30 {
        let (url, to) = (
            room.url.clone(),
            dir.path().join(format!("machine-{number}")),
        );
        machines.spawn(async move {
            fetch(&url, &to).await.unwrap();
            to
        });
    }
    while let Some(came) = machines.join_next().await {
        assert!(fs::read(came.unwrap()).unwrap() == packed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let room = Room::open(Some(&file)).await;
    let line = Line::to(&room.url, &[1_000_000, 500_000]).await;
    let to = dir.path().join("came");
    let seen = Seen::default();
    let came = download(&line.url, &to, Duration::ZERO, &seen)
        .await
        .unwrap();
    assert_eq!(came, Came::Now);
    assert!(fs::read(&to).unwrap() == fs::read(&file).unwrap());
    assert_eq!(seen.again.load(Ordering::Relaxed), 2);
    let asked = line.asked();
    assert_eq!(asked.len(), 3);
    assert!(!asked[0].contains("range:"), "{}", asked[0]);
    for request in &asked[1..] {
        let request = request.to_lowercase();
        assert!(
            request.contains("range: bytes=") && request.contains("if-range: \""),
            "{request}"
        );
    }
    let sent = seen.passed.load(Ordering::Relaxed);
    let size = fs::metadata(&file).unwrap().len();
    assert!(
        sent < 2 * size + 4096,
        "no byte comes twice (and each is verified): {sent} of {size}"
    );
    let again = fetch(&line.url, &to).await.unwrap();
    assert_eq!(again, Came::Before);
    assert!(!left(dir.path()).iter().any(|name| name.contains(".part")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_dead_line_is_kept_and_used_by_the_next_command() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let room = Room::open(Some(&file)).await;
    let line = Line::to(&room.url, &[1_000_000, 0, 0, 0, 0, 0]).await;
    let to = dir.path().join("came");
    let error = fetch(&line.url, &to).await.unwrap_err();
    let DownloadError::BrokenOff { have, part, .. } = &error else {
        panic!("{error}");
    };
    assert!(
        error.to_string().contains("the same command goes on"),
        "{error}"
    );
    assert_eq!(fs::metadata(part).unwrap().len(), *have);
    assert!(*have > 900_000, "{have}");
    let line = Line::to(&room.url, &[]).await;
    fetch(&line.url, &to).await.unwrap();
    assert!(
        line.asked()[0]
            .to_lowercase()
            .contains(&format!("bytes={have}-"))
    );
    assert!(fs::read(&to).unwrap() == fs::read(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bundle_in_the_meantime_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (bundle(dir.path(), 1), bundle(dir.path(), 2));
    let room = Room::open(Some(&first)).await;
    let line = Line::to(&room.url, &[1_000_000, 0, 0, 0, 0, 0]).await;
    let to = dir.path().join("came");
    fetch(&line.url, &to).await.unwrap_err();
    let room = Room::open(Some(&second)).await;
    fetch(&room.url, &to).await.unwrap();
    assert!(fs::read(&to).unwrap() == fs::read(&second).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_its_way_is_named_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let file = bundle(dir.path(), 1);
    let mut bytes = fs::read(&file).unwrap();
    let opened = lab_bundle::open(&file).unwrap();
    let (at, _) = opened.place(lab_bundle::PROGRAM).unwrap();
    bytes[usize::try_from(at).unwrap() + 3] ^= 1;
    let path = format!("/get/{BUNDLE_FILE}");
    let router = Router::new().route(&path, get(move || async move { bytes }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let to = dir.path().join("came");
    let error = fetch(&url, &to).await.unwrap_err().to_string();
    assert!(error.contains("damaged in program/devops-lab"), "{error}");
    assert!(!left(dir.path()).iter().any(|name| name.contains("came")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_of_the_same_name_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let room = Room::open(Some(&bundle(dir.path(), 1))).await;
    let to = dir.path().join("thesis.txt");
    fs::write(&to, "years of work").unwrap();
    let error = fetch(&room.url, &to).await.unwrap_err();
    assert!(matches!(error, DownloadError::Exists { .. }), "{error}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "years of work");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_and_nothing_handed_out_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("came");
    let room = Room::open(None).await;
    let error = fetch(&room.url, &to).await.unwrap_err().to_string();
    assert!(error.contains("--serve-bundle"), "{error}");
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = fetch(&format!("http://{closed}"), &to).await.unwrap_err();
    assert!(
        matches!(error, DownloadError::Unreachable { .. }),
        "{error}"
    );
    assert_eq!(left(dir.path()), [""; 0]);
}
