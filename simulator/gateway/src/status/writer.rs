//! Writing status, and only what changed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::networking::v1::IngressStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource};
use lab_api::gateway::{GatewayClassStatus, GatewayStatus, RouteStatus};
use lab_context::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Desired;
use crate::plan::RouteObject;
use crate::world::key;

/// Pause before a write is tried again. Status is for people: a second late is in time.
const RETRY: Duration = Duration::from_secs(1);

/// Starts the task that writes status. It always works on the newest wish, so a slow API server
/// is asked for less, not later; and it never holds up the data plane.
pub(crate) fn start(
    client: Client,
    context: Context,
    stop: CancellationToken,
) -> watch::Sender<Vec<Desired>> {
    let (wishes, wished) = watch::channel(Vec::new());
    let writer = Writer {
        client,
        written: HashMap::new(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = writer.run(wished, context) => {}
        }
    });
    wishes
}

struct Writer {
    client: Client,
    written: HashMap<String, Written>,
}

/// What we wrote last about an object. Until the watch shows it, the object that we see is
/// older than this, and comparing with that one would write the same again.
struct Written {
    revision: u64,
    status: Status,
}

/// The status of any of our kinds, for comparing.
#[derive(Clone, Debug, PartialEq)]
enum Status {
    Class(GatewayClassStatus),
    Gateway(GatewayStatus),
    Route(RouteStatus),
    Ingress(IngressStatus),
}

impl Writer {
    async fn run(mut self, mut wished: watch::Receiver<Vec<Desired>>, context: Context) {
        while wished.changed().await.is_ok() {
            loop {
                let wishes = wished.borrow_and_update().clone();
                if self.write_all(wishes).await {
                    break;
                }
                let pause = tokio::time::sleep(context.scale(RETRY));
                tokio::select! {
                    () = pause => {}
                    _ = wished.changed() => {}
                }
                wished.mark_changed();
            }
        }
    }

    /// True when everything is written.
    async fn write_all(&mut self, wishes: Vec<Desired>) -> bool {
        let mut complete = true;
        let mut known = HashMap::with_capacity(wishes.len());
        for wish in wishes {
            let id = wish.id();
            let before = self.written.remove(&id);
            match self.write(wish, before).await {
                Ok(written) => {
                    known.extend(written.map(|written| (id, written)));
                }
                Err(error) => {
                    tracing::debug!(object = %id, %error, "status not written");
                    complete = false;
                }
            }
        }
        self.written = known;
        complete
    }

    async fn write(
        &self,
        wish: Desired,
        before: Option<Written>,
    ) -> Result<Option<Written>, kube::Error> {
        let before = before.filter(|written| written.revision > wish.revision());
        let seen = before
            .as_ref()
            .map(|written| written.status.clone())
            .or_else(|| wish.observed());
        let mut status = wish.status();
        if let Some(seen) = &seen {
            status.keep_times(seen);
            if status == *seen {
                return Ok(before);
            }
        }
        let revision = match (&wish, &status) {
            (Desired::Class(object, _), Status::Class(status)) => {
                patch(Api::all(self.client.clone()), &**object, status).await
            }
            (Desired::Gateway(object, _), Status::Gateway(status)) => {
                patch(self.api(&**object), &**object, status).await
            }
            (Desired::Route(RouteObject::Http(object), _), Status::Route(status)) => {
                patch(self.api(&**object), &**object, status).await
            }
            (Desired::Route(RouteObject::Grpc(object), _), Status::Route(status)) => {
                patch(self.api(&**object), &**object, status).await
            }
            (Desired::Ingress(object, _), Status::Ingress(status)) => {
                patch(self.api(&**object), &**object, status).await
            }
            (
                Desired::Class(..)
                | Desired::Gateway(..)
                | Desired::Route(..)
                | Desired::Ingress(..),
                _,
            ) => Ok(None),
        }?;
        Ok(revision.map(|revision| Written { revision, status }))
    }

    fn api<K>(&self, object: &K) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(
            self.client.clone(),
            object.meta().namespace.as_deref().unwrap_or_default(),
        )
    }
}

/// Writes a status and answers the new revision; none for an object that is gone by now.
async fn patch<K, S>(api: Api<K>, object: &K, status: &S) -> Result<Option<u64>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize + Debug,
{
    let name = object.meta().name.as_deref().unwrap_or_default();
    let body = Patch::Merge(serde_json::json!({ "status": status }));
    match api.patch_status(name, &PatchParams::default(), &body).await {
        Ok(now) => Ok(Some(revision(&now))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_gone(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => status.code == 404,
        _ => false,
    }
}

fn revision<K: Resource>(object: &K) -> u64 {
    let text = object.meta().resource_version.as_deref();
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Desired {
    fn id(&self) -> String {
        match self {
            Self::Class(object, _) => format!("GatewayClass {}", key(&**object)),
            Self::Gateway(object, _) => format!("Gateway {}", key(&**object)),
            Self::Route(object, _) => format!("{} {}", object.kind(), object.key()),
            Self::Ingress(object, _) => format!("Ingress {}", key(&**object)),
        }
    }

    fn revision(&self) -> u64 {
        match self {
            Self::Class(object, _) => revision(&**object),
            Self::Gateway(object, _) => revision(&**object),
            Self::Route(RouteObject::Http(object), _) => revision(&**object),
            Self::Route(RouteObject::Grpc(object), _) => revision(&**object),
            Self::Ingress(object, _) => revision(&**object),
        }
    }

    fn observed(&self) -> Option<Status> {
        match self {
            Self::Class(object, _) => object.status.clone().map(Status::Class),
            Self::Gateway(object, _) => object.status.clone().map(Status::Gateway),
            Self::Route(object, _) => object.status().cloned().map(Status::Route),
            Self::Ingress(object, _) => object.status.clone().map(Status::Ingress),
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::Class(_, status) => Status::Class(status.clone()),
            Self::Gateway(_, status) => Status::Gateway(status.clone()),
            Self::Route(_, status) => Status::Route(status.clone()),
            Self::Ingress(_, status) => Status::Ingress(status.clone()),
        }
    }
}

impl Status {
    /// A condition whose status did not change keeps the time of its last transition.
    fn keep_times(&mut self, seen: &Self) {
        match (self, seen) {
            (Self::Class(new), Self::Class(old)) => keep(&mut new.conditions, &old.conditions),
            (Self::Gateway(new), Self::Gateway(old)) => {
                keep(&mut new.conditions, &old.conditions);
                for listener in &mut new.listeners {
                    if let Some(old) = old.listeners.iter().find(|old| old.name == listener.name) {
                        keep(&mut listener.conditions, &old.conditions);
                    }
                }
            }
            (Self::Route(new), Self::Route(old)) => {
                for parent in &mut new.parents {
                    let same = |old: &&lab_api::gateway::RouteParentStatus| {
                        old.parent_ref == parent.parent_ref
                            && old.controller_name == parent.controller_name
                    };
                    if let Some(old) = old.parents.iter().find(same) {
                        keep(&mut parent.conditions, &old.conditions);
                    }
                }
            }
            (Self::Class(_) | Self::Gateway(_) | Self::Route(_) | Self::Ingress(_), _) => {}
        }
    }
}

fn keep(new: &mut [Condition], old: &[Condition]) {
    for condition in new {
        let before = old.iter().find(|before| before.type_ == condition.type_);
        if let Some(before) = before.filter(|before| before.status == condition.status) {
            condition.last_transition_time = before.last_transition_time.clone();
        }
    }
}
