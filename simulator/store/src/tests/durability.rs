//! What survives a restart, a kill and a full disk.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use futures::future::join_all;

use super::{delete, names, put};
use crate::{Compacted, Precondition, Store, WriteError};

/// Where the killed child of this test writes; unset in a normal run.
const VICTIM: &str = "LAB_STORE_TEST_VICTIM";

#[tokio::test]
async fn a_reopened_store_has_the_same_data_and_goes_on_counting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path).unwrap();
    let kept = put(&store, "a").await;
    put(&store, "b").await;
    delete(&store, "b").await;
    let size = store.size_bytes();
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.get("pods", "a"), Some(kept));
    assert_eq!(names(&store), ["a"]);
    assert_eq!(store.size_bytes(), size);
    assert_eq!(store.revision(), 3);
    assert_eq!(put(&store, "c").await.revision, 4);
}

#[tokio::test]
async fn history_does_not_outlive_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path).unwrap();
    put(&store, "a").await;
    put(&store, "a").await;
    drop(store);

    let store = Store::open(&path).unwrap();
    let late = |after| store.watch("pods", after).map(|_| ());
    assert_eq!(late(1), Err(Compacted { oldest: 2 }));
    assert_eq!(late(2), Ok(()));
}

/// Not a test of its own: the program that the next test kills.
#[tokio::test(flavor = "multi_thread")]
async fn the_victim_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(VICTIM) else {
        return;
    };
    let store = Store::open(Path::new(&path)).unwrap();
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for write in 0.. {
                let name = format!("pod-{writer}-{write}");
                put(&store, &name).await;
                println!("acknowledged {name}");
            }
        })
    });
    join_all(writers).await;
}

#[tokio::test]
async fn a_kill_loses_no_acknowledged_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["the_victim_writes_until_it_is_killed", "--nocapture"])
        .env(VICTIM, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines.map_while(Result::ok) {
        if let Some(name) = line.strip_prefix("acknowledged ") {
            acknowledged.push(name.to_owned());
        }
        // What it printed before it died is still read, and still counts.
        if acknowledged.len() == 500 {
            victim.kill().unwrap();
        }
    }
    victim.wait().unwrap();

    let store = Store::open(&path).unwrap();
    assert!(acknowledged.len() >= 500, "{}", acknowledged.len());
    for name in &acknowledged {
        assert!(store.get("pods", name).is_some(), "{name} is lost");
    }
    let newest = store.list("pods", "", None, None).entries;
    let newest = newest.iter().map(|entry| entry.revision).max();
    assert_eq!(Some(store.revision()), newest);
}

#[tokio::test]
async fn a_full_disk_refuses_the_write_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_with_room_for(&folder.path().join("state.db"), 100).unwrap();
    let large = |name: &'static str, bytes: usize| {
        store.put("pods", name, Precondition::None, move |_| {
            Bytes::from(vec![b'x'; bytes])
        })
    };
    large("a", 200_000).await.unwrap();
    let error = large("b", 400_000).await.unwrap_err();
    let WriteError::Storage(error) = error else {
        panic!("{error:?}");
    };
    assert!(error.is_full());
    assert!(
        error.to_string().contains("state.db: no space left"),
        "{error}"
    );

    assert_eq!(names(&store), ["a"]);
    assert_eq!(store.revision(), 1);
    delete(&store, "a").await;
    assert_eq!(large("b", 200_000).await.unwrap().revision, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_do_not_grow_the_file() {
    const NODES: usize = 100;
    const BEATS: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    for beat in 0..BEATS {
        let puts = (0..NODES).map(|node| {
            let encode = move |revision| Bytes::from(format!("{beat:0>400} {revision}"));
            let name = format!("node-{node}");
            let store = store.clone();
            async move { store.put("leases", &name, Precondition::None, encode).await }
        });
        for result in join_all(puts).await {
            result.unwrap();
        }
    }
    let files = std::fs::read_dir(folder.path()).unwrap();
    let bytes: u64 = files.map(|f| f.unwrap().metadata().unwrap().len()).sum();
    let bound = 10 << 20;
    assert!(
        bytes < bound,
        "{bytes} bytes after {} heartbeats",
        NODES * BEATS
    );
}

#[tokio::test]
async fn the_space_of_deleted_objects_is_given_back_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path).unwrap();
    for name in ["a", "b", "c"] {
        let encode = |_| Bytes::from(vec![b'x'; 1 << 20]);
        let put = store.put("pods", name, Precondition::None, encode);
        put.await.unwrap();
        delete(&store, name).await;
    }
    drop(store);
    let before = std::fs::metadata(&path).unwrap().len();
    drop(Store::open(&path).unwrap());
    let after = std::fs::metadata(&path).unwrap().len();
    assert!(before > 1 << 20 && after < 100_000, "{before} → {after}");
}
