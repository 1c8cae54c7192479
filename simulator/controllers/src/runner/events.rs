//! What exists of a kind, then every change of it, for ever.

use std::fmt::Debug;

use futures::Stream;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// The initial objects and the changes come over one stream (a "streaming list"), so that no
/// change can be pushed out of the server's memory while pages are still being read.
pub(crate) fn events<K>(api: Api<K>) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, watcher::Config::default().streaming_lists()).default_backoff()
}
