//! Files that cannot be opened, and what is said about them.

use std::fs;

use rusqlite::Connection;

use super::put;
use crate::{OpenError, Store};

#[track_caller]
fn check(path: &std::path::Path, says: &str) -> OpenError {
    let error = Store::open(path).map(|_| ()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    assert!(text.contains(says), "{text}");
    error
}

#[test]
fn garbage_is_not_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let garbage = "not a database ".repeat(1000);
    fs::write(&path, &garbage).unwrap();
    let error = check(&path, "damaged");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), garbage);
}

#[tokio::test]
async fn a_store_with_overwritten_pages_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path).unwrap();
    for pod in 0..500 {
        put(&store, &format!("pod-{pod}")).await;
    }
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..].fill(0xAA);
    fs::write(&path, bytes).unwrap();
    let error = check(&path, "delete it to start empty");
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error:?}");
}

#[test]
fn another_programs_database_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE notes (text)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    check(&path, "is not a store");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_format_asks_for_the_newer_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(Store::open(&path).unwrap());
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 7).unwrap();
    drop(file);
    let error = check(&path, "use the newer release");
    let newer = matches!(
        error,
        OpenError::NewerVersion {
            found: 7,
            supported: 1,
            ..
        }
    );
    assert!(newer, "{error:?}");
}

#[test]
fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let first = Store::open(&path).unwrap();
    let error = check(&path, "in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(first);
    Store::open(&path).unwrap();
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = check(&folder.path().join("nowhere/state.db"), "cannot open store");
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
}
