//! A copy of all objects of one kind, kept current by one watch and read by every controller.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Client, Resource};
use lab_api::names::{LAST_APPLIED, SERVICE_NAME};
use lab_api::objects::controller_of;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Key, events};

/// What a cache keeps of an object. Most kinds are kept as they are; pods, of which there may
/// be a hundred thousand, are kept as a record of what controllers look at.
pub(crate) trait Cached: Debug + Sized + Send + Sync + 'static {
    /// The kind as the API serves it.
    type Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static;

    /// Keeps what is needed of `object`.
    fn from_object(object: Self::Object) -> Self;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;

    /// Under what the object can be found, besides its key: by its owner, and by the Service
    /// that it says it belongs to.
    fn indexes(&self) -> Vec<Index> {
        let meta = self.metadata();
        let service = meta
            .labels
            .as_ref()
            .and_then(|labels| labels.get_key_value(SERVICE_NAME));
        let of_service = service.map(|(key, value)| Index::Label {
            namespace: meta.namespace.clone().unwrap_or_default(),
            key: key.clone(),
            value: value.clone(),
        });
        std::iter::once(Index::owner(meta))
            .chain(of_service)
            .collect()
    }
}

impl<K> Cached for K
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    type Object = K;

    fn from_object(mut object: K) -> Self {
        slim(object.meta_mut());
        object
    }

    fn metadata(&self) -> &ObjectMeta {
        self.meta()
    }
}

/// Drops what no controller reads, which is often more than half of an object.
pub(crate) fn slim(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// A question that a cache answers without looking at every object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Index {
    /// Objects controlled by the owner with this uid.
    Owner(String),
    /// Objects of this namespace that nothing controls.
    Orphan(String),
    /// Pods on this node; empty for pods without one.
    Node(String),
    /// Objects of a namespace with this label.
    Label {
        /// Namespace.
        namespace: String,
        /// Label key.
        key: String,
        /// Label value.
        value: String,
    },
}

impl Index {
    /// By controlling owner, or as an orphan.
    pub(crate) fn owner(meta: &ObjectMeta) -> Self {
        controller_of(meta).map_or_else(
            || Self::Orphan(meta.namespace.clone().unwrap_or_default()),
            |owner| Self::Owner(owner.uid.clone()),
        )
    }
}

/// One object before and after; at least one of the two is there.
#[derive(Debug)]
pub(crate) struct Change<'a, T> {
    /// The object before, unless it is new.
    pub old: Option<&'a Arc<T>>,
    /// The object now, unless it was deleted.
    pub new: Option<&'a Arc<T>>,
}

impl<'a, T> Change<'a, T> {
    /// The object as last known.
    pub(crate) fn latest(&self) -> &'a T {
        self.new
            .or(self.old)
            .expect("a change has an old or a new object")
    }

    /// Old and new, as far as they are there.
    pub(crate) fn both(&self) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.old.into_iter().chain(self.new).map(AsRef::as_ref)
    }
}

type Handler<T> = Box<dyn Fn(&Change<'_, T>) + Send + Sync>;

/// All objects of one kind, as last seen.
pub(crate) struct Cache<T> {
    objects: RwLock<Objects<T>>,
    handlers: RwLock<Vec<Handler<T>>>,
    observed: AtomicU64,
    synced: watch::Sender<bool>,
}

struct Objects<T> {
    by_key: HashMap<String, BTreeMap<String, Arc<T>>>,
    by_index: HashMap<Index, HashMap<Key, Arc<T>>>,
}

impl<T: Cached> Cache<T> {
    /// An empty cache that nobody feeds yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            objects: RwLock::new(Objects {
                by_key: HashMap::new(),
                by_index: HashMap::new(),
            }),
            handlers: RwLock::new(Vec::new()),
            observed: AtomicU64::new(0),
            synced: watch::Sender::new(false),
        })
    }

    /// Calls `handler` after every change, in the order of changes. It must be quick: it runs
    /// between two events of the watch. Register before the cache is fed.
    pub(crate) fn on_change(&self, handler: impl Fn(&Change<'_, T>) + Send + Sync + 'static) {
        self.handlers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(handler));
    }

    /// Waits until the cache has seen everything that existed when its watch began.
    pub(crate) async fn synced(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The highest revision that the cache has seen; everything up to it is in the cache.
    pub(crate) fn observed(&self) -> u64 {
        self.observed.load(Ordering::Acquire)
    }

    /// The object of this key.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<T>> {
        self.read()
            .by_key
            .get(&key.namespace)?
            .get(&key.name)
            .cloned()
    }

    /// Every object, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let objects = self.read();
        objects
            .by_key
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// Every object of a namespace, by name.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let objects = self.read();
        objects
            .by_key
            .get(namespace)
            .map(|named| named.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Every object found under `index`, in no particular order.
    pub(crate) fn by_index(&self, index: &Index) -> Vec<Arc<T>> {
        let objects = self.read();
        objects
            .by_index
            .get(index)
            .map(|found| found.values().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes in one object as the watch told it.
    pub(crate) fn apply(&self, object: T::Object) {
        let new = Arc::new(T::from_object(object));
        let old = self.write().insert(&new);
        self.observe(new.metadata());
        self.tell(&Change {
            old: old.as_ref(),
            new: Some(&new),
        });
    }

    /// Forgets one object; `last` carries the revision of the deletion.
    pub(crate) fn delete(&self, last: &ObjectMeta) {
        let old = self.write().remove(&Key::of(last));
        self.observe(last);
        if old.is_some() {
            self.tell(&Change {
                old: old.as_ref(),
                new: None,
            });
        }
    }

    /// Replaces everything by a fresh list, telling of each difference.
    pub(crate) fn replace(&self, listed: Vec<T::Object>) {
        let mut unlisted: HashSet<Key> = self.read().keys().collect();
        for object in listed {
            unlisted.remove(&Key::of(object.meta()));
            self.apply(object);
        }
        for key in unlisted {
            let old = self.write().remove(&key);
            self.tell(&Change {
                old: old.as_ref(),
                new: None,
            });
        }
        self.synced.send_replace(true);
    }

    fn observe(&self, meta: &ObjectMeta) {
        if let Some(revision) = revision_of(meta) {
            self.observed.fetch_max(revision, Ordering::AcqRel);
        }
    }

    fn tell(&self, change: &Change<'_, T>) {
        if change.old.is_none() && change.new.is_none() {
            return;
        }
        let handlers = self.handlers.read().unwrap_or_else(PoisonError::into_inner);
        for handler in handlers.iter() {
            handler(change);
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects<T>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects<T>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Cached> Objects<T> {
    fn keys(&self) -> impl Iterator<Item = Key> {
        self.by_key
            .iter()
            .flat_map(|(namespace, named)| named.keys().map(|name| Key::new(namespace, name)))
    }

    fn insert(&mut self, object: &Arc<T>) -> Option<Arc<T>> {
        let key = Key::of(object.metadata());
        let old = self.remove(&key);
        for index in object.indexes() {
            self.by_index
                .entry(index)
                .or_default()
                .insert(key.clone(), Arc::clone(object));
        }
        self.by_key
            .entry(key.namespace)
            .or_default()
            .insert(key.name, Arc::clone(object));
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<T>> {
        let named = self.by_key.get_mut(&key.namespace)?;
        let old = named.remove(&key.name)?;
        if named.is_empty() {
            self.by_key.remove(&key.namespace);
        }
        for index in old.indexes() {
            if let Some(found) = self.by_index.get_mut(&index) {
                found.remove(key);
                if found.is_empty() {
                    self.by_index.remove(&index);
                }
            }
        }
        Some(old)
    }
}

/// The revision in an object's `resourceVersion`.
///
/// Kubernetes defines these to be comparable numbers within a kind:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>
pub(crate) fn revision_of(meta: &ObjectMeta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

/// Feeds `cache` from the API until `stop`. Interrupted watches resume where they were.
pub(crate) async fn follow<T: Cached>(
    client: Client,
    cache: Arc<Cache<T>>,
    stop: CancellationToken,
) {
    let api = Api::<T::Object>::all(client);
    let mut events = pin!(events(api));
    let mut listed = Vec::new();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = stop.cancelled() => return,
        };
        match event {
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(object))) => listed.push(object),
            Some(Ok(Event::InitDone)) => cache.replace(std::mem::take(&mut listed)),
            Some(Ok(Event::Apply(object))) => cache.apply(object),
            Some(Ok(Event::Delete(object))) => cache.delete(object.meta()),
            Some(Err(error)) => {
                let kind = T::Object::kind(&());
                tracing::debug!(%kind, error = &error as &dyn std::error::Error, "watch interrupted");
            }
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;
    use std::sync::Mutex;

    fn config_map(name: &str, revision: u64, owner: Option<&str>) -> ConfigMap {
        let owners = owner.map(|uid| {
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": uid, "controller": true}])
        });
        serde_json::from_value(json!({"metadata": {
            "namespace": "default", "name": name, "resourceVersion": revision.to_string(),
            "ownerReferences": owners, "managedFields": [{"manager": "m"}],
            "annotations": {LAST_APPLIED: "{}", "kept": "yes"},
        }}))
        .unwrap()
    }

    fn names_under(cache: &Cache<ConfigMap>, index: &Index) -> Vec<String> {
        let mut names: Vec<_> = cache
            .by_index(index)
            .iter()
            .map(|found| Key::of(found.metadata()).name)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_object_moves_between_indexes_with_its_owner() {
        let cache = Cache::<ConfigMap>::new();
        let (orphan, owned) = (
            Index::Orphan("default".into()),
            Index::Owner("uid-1".into()),
        );
        cache.apply(config_map("a", 1, None));
        cache.apply(config_map("b", 2, Some("uid-1")));
        assert_eq!(names_under(&cache, &orphan), ["a"]);
        cache.apply(config_map("a", 3, Some("uid-1")));
        assert_eq!(names_under(&cache, &orphan), Vec::<String>::new());
        assert_eq!(names_under(&cache, &owned), ["a", "b"]);
        cache.delete(&config_map("b", 4, None).metadata);
        assert_eq!(names_under(&cache, &owned), ["a"]);
        assert_eq!(cache.observed(), 4);
    }

    #[test]
    fn what_no_controller_reads_is_dropped() {
        let cache = Cache::<ConfigMap>::new();
        cache.apply(config_map("a", 1, None));
        let meta = cache
            .get(&Key::new("default", "a"))
            .unwrap()
            .metadata
            .clone();
        assert_eq!(meta.managed_fields, None);
        assert_eq!(
            meta.annotations.unwrap().into_keys().collect::<Vec<_>>(),
            ["kept"]
        );
    }

    #[test]
    fn a_fresh_list_tells_of_what_disappeared_meanwhile() {
        let cache = Cache::<ConfigMap>::new();
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = Arc::clone(&told);
        cache.on_change(move |change| {
            let name = Key::of(change.latest().metadata()).name;
            teller
                .lock()
                .unwrap()
                .push((name, change.old.is_some(), change.new.is_some()));
        });
        cache.apply(config_map("gone", 1, None));
        cache.replace(vec![config_map("new", 2, None)]);
        let told = told.lock().unwrap();
        assert_eq!(
            *told,
            [
                ("gone".to_owned(), false, true),
                ("new".to_owned(), false, true),
                ("gone".to_owned(), true, false),
            ]
        );
    }
}
