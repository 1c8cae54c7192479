//! The store as its users see it.

mod durability;
mod opening;
mod watching;
mod writing;

use bytes::Bytes;

use crate::{Entry, Precondition, Store};

/// A value that carries its revision, as objects do.
async fn put(store: &Store, name: &str) -> Entry {
    store
        .put("pods", name, Precondition::None, |revision| {
            Bytes::from(format!("at {revision}"))
        })
        .await
        .unwrap()
}

async fn delete(store: &Store, name: &str) -> Entry {
    store
        .delete("pods", name, Precondition::Present, |revision| {
            Bytes::from(format!("gone at {revision}"))
        })
        .await
        .unwrap()
}

fn names(store: &Store) -> Vec<String> {
    let page = store.list("pods", "", None, None);
    page.entries.iter().map(|e| e.name.to_string()).collect()
}
