//! Puts, deletes and reads.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;

use super::{delete, names, put};
use crate::{Precondition, Store, WriteError};

#[tokio::test]
async fn a_value_knows_the_revision_it_was_written_at() {
    let store = Store::in_memory();
    put(&store, "a").await;
    let entry = put(&store, "b").await;
    assert_eq!(entry.revision, 2);
    assert_eq!(entry.value, "at 2");
    assert_eq!(store.get("pods", "b"), Some(entry));
    assert_eq!(store.revision(), 2);
}

#[tokio::test]
async fn a_deleted_name_is_gone_and_its_revision_is_not_reused() {
    let store = Store::in_memory();
    put(&store, "a").await;
    let last = delete(&store, "a").await;
    assert_eq!((last.revision, &*last.value), (2, &b"gone at 2"[..]));
    assert_eq!(store.get("pods", "a"), None);
    assert_eq!(put(&store, "a").await.revision, 3);
}

#[tokio::test]
async fn of_two_writers_with_the_same_revision_the_second_conflicts() {
    let store = Store::in_memory();
    let seen = Precondition::Revision(put(&store, "a").await.revision);
    let write = || store.put("pods", "a", seen, |_| Bytes::from_static(b"x"));
    write().await.unwrap();
    let error = write().await.unwrap_err();
    assert!(
        matches!(error, WriteError::Conflict { current: Some(2) }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let store = Store::in_memory();
    put(&store, "a").await;
    let before = store.get("pods", "a");
    let taken = store
        .put("pods", "a", Precondition::Absent, |_| Bytes::new())
        .await;
    assert!(matches!(taken, Err(WriteError::AlreadyExists)), "{taken:?}");
    assert_eq!(store.get("pods", "a"), before);
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn a_list_continues_after_the_last_name_of_the_page_before() {
    let store = Store::in_memory();
    for name in [
        "default/c",
        "default/a",
        "default/b",
        "other/a",
        "defaults/a",
    ] {
        put(&store, name).await;
    }
    let page = |after, limit| {
        let page = store.list("pods", "default/", after, limit);
        let names: Vec<_> = page.entries.iter().map(|e| e.name.to_string()).collect();
        (names.join(" "), page.remaining, page.revision)
    };
    let all = "default/a default/b default/c";
    assert_eq!(page(None, None), (all.to_owned(), 0, 5));
    assert_eq!(
        page(None, Some(2)),
        ("default/a default/b".to_owned(), 1, 5)
    );
    assert_eq!(
        page(Some("default/b"), Some(2)),
        ("default/c".to_owned(), 0, 5)
    );
    assert_eq!(page(Some("default/zz"), None), (String::new(), 0, 5));
    assert_eq!(page(Some("a"), None), (all.to_owned(), 0, 5));
}

#[tokio::test]
async fn size_and_collections_count_live_values_only() {
    let store = Store::in_memory();
    put(&store, "a").await;
    assert_eq!(store.size_bytes(), "a".len() as u64 + "at 1".len() as u64);
    assert_eq!(store.collections(), ["pods"]);
    put(&store, "a").await;
    assert_eq!(store.size_bytes(), 5);
    delete(&store, "a").await;
    assert_eq!(store.size_bytes(), 0);
    assert!(store.collections().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_get_distinct_revisions_without_gaps() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let writers = (0..200).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move { put(&store, &format!("pod-{writer}")).await.revision })
    });
    let revisions: BTreeSet<_> = join_all(writers).await.into_iter().flatten().collect();
    assert_eq!(revisions, (1..=200).collect());
    assert_eq!(names(&store).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_creators_of_one_name_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.db")).unwrap();
    let creators = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let create = store.put("pods", "a", Precondition::Absent, |_| Bytes::new());
            create.await.is_ok()
        })
    });
    let won = join_all(creators).await.into_iter().flatten();
    assert_eq!(won.filter(|won| *won).count(), 1);
    assert_eq!(store.revision(), 1);
}

#[tokio::test]
async fn an_encoder_that_panics_fails_its_own_write_only() {
    let folder = tempfile::tempdir().unwrap();
    for store in [
        Store::in_memory(),
        Store::open(&folder.path().join("state.db")).unwrap(),
    ] {
        let broken = store.put("pods", "a", Precondition::None, |_| panic!("cannot encode"));
        let outcome = std::panic::AssertUnwindSafe(broken).catch_unwind().await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(put(&store, "b").await.revision, 1);
    }
}
