//! A watch that always finds its way back.

use std::fmt::Debug;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// What exists of a kind, then every change of it, for ever.
///
/// The initial objects and the changes come over one stream (a "streaming list"), so that no
/// change can be pushed out of the server's memory while pages are still being read.
pub(crate) fn events<K>(api: Api<K>) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    stream::unfold((open(api.clone()), api), async |(mut events, api)| {
        let event = events.next().await?;
        // kube's watcher asks for the same revision again when a server answers 410 to the
        // request itself, and would do so for ever: only a fresh list gets on from there.
        if let Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) = &event
            && status.code == 410
        {
            events = open(api.clone());
        }
        Some((event, (events, api)))
    })
}

fn open<K>(api: Api<K>) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().streaming_lists();
    watcher(api, config).default_backoff().boxed()
}
