//! Watches: replay, waiting, falling behind.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::{delete, put};
use crate::history::{MAX_UNREAD_BYTES, MAX_UNREAD_EVENTS, MIN_BYTES, MIN_EVENTS};
use crate::{Change, Compacted, Precondition, Revision, Store};

/// What a watch after `after` has to say now.
#[track_caller]
fn replay(store: &Store, collection: &str, after: Revision) -> Vec<(Revision, String, Change)> {
    let mut watch = store.watch(collection, after).unwrap();
    let mut seen = Vec::new();
    while let Some(event) = watch.try_next().unwrap() {
        seen.push((event.revision, event.name.to_string(), event.change));
    }
    seen
}

#[tokio::test]
async fn a_watch_replays_what_came_after_its_revision() {
    let store = Store::in_memory();
    put(&store, "a").await;
    put(&store, "b").await;
    put(&store, "a").await;
    delete(&store, "b").await;
    let event = |revision, name: &str, change| (revision, name.to_owned(), change);
    assert_eq!(
        replay(&store, "pods", 1),
        [
            event(2, "b", Change::Put),
            event(3, "a", Change::Put),
            event(4, "b", Change::Delete)
        ]
    );
    assert_eq!(replay(&store, "pods", 4), []);
}

#[tokio::test]
async fn an_event_carries_the_value_before_and_after() {
    let store = Store::in_memory();
    let mut watch = store.watch("pods", 0).unwrap();
    put(&store, "a").await;
    put(&store, "a").await;
    delete(&store, "a").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let event = watch.next().await.unwrap();
        seen.push((event.value.clone(), event.previous.clone()));
    }
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        seen,
        [
            (text("at 1"), None),
            (text("at 2"), Some(text("at 1"))),
            (text("gone at 3"), Some(text("at 2")))
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_another_collection_sees_nothing() {
    let store = Store::in_memory();
    let mut watch = store.watch("services", 0).unwrap();
    put(&store, "a").await;
    let silence = timeout(Duration::from_secs(3600), watch.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_loses_no_event() {
    let store = Store::in_memory();
    let mut watch = store.watch("pods", 0).unwrap();
    let waited = timeout(Duration::from_secs(1), watch.next()).await;
    assert!(waited.is_err(), "{waited:?}");
    put(&store, "a").await;
    put(&store, "b").await;
    assert_eq!(watch.next().await.unwrap().revision, 1);
    assert_eq!(watch.next().await.unwrap().revision, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_watch_sees_every_durable_write_in_order() {
    const WRITES: u64 = 2000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let mut watch = store.watch("pods", 0).unwrap();
    let reader = tokio::spawn(async move {
        let mut revisions = Vec::new();
        while revisions.len() < usize::try_from(WRITES).unwrap() {
            revisions.push(watch.next().await.unwrap().revision);
        }
        revisions
    });
    let writers = (0..20).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..WRITES / 20 {
                put(&store, &format!("pod-{writer}")).await;
            }
        })
    });
    futures::future::join_all(writers).await;
    let expected: Vec<_> = (1..=WRITES).collect();
    assert_eq!(reader.await.unwrap(), expected);
}

#[tokio::test]
async fn a_revision_that_is_too_old_is_told_so() {
    let store = Store::in_memory();
    for _ in 0..=MIN_EVENTS {
        put(&store, "a").await;
    }
    let late = store.watch("pods", 0).map(|_| ());
    assert_eq!(late, Err(Compacted { oldest: 1 }));
    assert_eq!(replay(&store, "pods", 1).len(), MIN_EVENTS);
}

#[tokio::test]
async fn an_open_watch_keeps_what_it_has_not_read() {
    let store = Store::in_memory();
    let mut watch = store.watch("pods", 0).unwrap();
    for _ in 0..MIN_EVENTS + 10 {
        put(&store, "a").await;
    }
    for revision in 1..=10 {
        assert_eq!(watch.next().await.unwrap().revision, revision);
    }
    drop(watch);
    put(&store, "a").await;
    let late = store.watch("pods", 10).map(|_| ());
    assert_eq!(late, Err(Compacted { oldest: 11 }));
}

#[tokio::test]
async fn a_watch_that_is_never_read_is_given_up() {
    let store = Store::in_memory();
    let mut watch = store.watch("pods", 0).unwrap();
    for _ in 0..=MIN_EVENTS + MAX_UNREAD_EVENTS {
        put(&store, "a").await;
    }
    assert_eq!(watch.next().await, Err(Compacted { oldest: 1 }));
    assert_eq!(watch.next().await, Err(Compacted { oldest: 1 }));
}

#[tokio::test]
async fn large_values_shorten_the_history() {
    let store = Store::in_memory();
    let large = |bytes: usize| {
        let store = store.clone();
        async move {
            let encode = move |_| Bytes::from(vec![b'x'; bytes]);
            let put = store.put("pods", "a", Precondition::None, encode);
            put.await.unwrap();
        }
    };
    for _ in 0..9 {
        large(MIN_BYTES / 8).await;
    }
    assert!(store.watch("pods", 0).is_err());
    let mut watch = store.watch("pods", 9).unwrap();
    for _ in 0..9 {
        large(MAX_UNREAD_BYTES / 8).await;
    }
    assert!(watch.next().await.is_err());
}

#[tokio::test]
async fn a_busy_collection_does_not_cut_the_history_of_a_quiet_one() {
    let store = Store::in_memory();
    let quiet = store.put("services", "web", Precondition::None, |_| Bytes::new());
    quiet.await.unwrap();
    for _ in 0..=MIN_EVENTS {
        put(&store, "a").await;
    }
    assert_eq!(replay(&store, "services", 0).len(), 1);
}

#[tokio::test]
async fn a_history_keeps_an_event_for_every_live_object() {
    let store = Store::in_memory();
    let many = MIN_EVENTS + 100;
    for pod in 0..many {
        put(&store, &format!("pod-{pod}")).await;
    }
    assert_eq!(replay(&store, "pods", 0).len(), many);
}

#[tokio::test]
async fn a_revision_from_the_future_must_list_again() {
    let store = Store::in_memory();
    put(&store, "a").await;
    let watch = store.watch("pods", 5).map(|_| ());
    assert_eq!(watch, Err(Compacted { oldest: 1 }));
}
