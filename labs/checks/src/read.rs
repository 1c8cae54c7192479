//! Reading the cluster. The only place of this crate that asks the Kubernetes API.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::diagnosis::Diagnosis;

/// The objects of a kind in one namespace.
pub(crate) async fn here<K>(client: &Client, namespace: &str) -> Result<Vec<K>, Diagnosis>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    list(Api::namespaced(client.clone(), namespace)).await
}

/// The objects of a kind in all namespaces, so that one in the wrong place can be named; where
/// the learner may not look everywhere, as on a shared cluster, those in her own.
pub(crate) async fn everywhere<K>(client: &Client, namespace: &str) -> Result<Vec<K>, Diagnosis>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    match list(Api::all(client.clone())).await {
        Err(Diagnosis::ApiRefuses { .. }) => here(client, namespace).await,
        answer => answer,
    }
}

/// The objects of a cluster-scoped kind, or of all namespaces.
pub(crate) async fn list<K>(api: Api<K>) -> Result<Vec<K>, Diagnosis>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        Err(error) => Err(problem(K::plural(&()).into_owned(), &error)),
    }
}

pub(crate) fn problem(what: String, error: &kube::Error) -> Diagnosis {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => Diagnosis::ApiRefuses {
            what,
            message: status.message.clone(),
        },
        kube::Error::Api(status) if status.code == 404 => Diagnosis::NotServed { what },
        error => Diagnosis::ApiNotAnswering {
            problem: root_cause(error),
        },
    }
}

/// The innermost cause, which is the one that people know ("connection refused").
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Finds an object by name, or says where it is instead.
pub(crate) fn named<'a, K>(
    objects: &'a [K],
    name: &str,
    namespace: &str,
) -> Result<&'a K, Diagnosis>
where
    K: Resource<DynamicType = ()>,
{
    let kind = K::kind(&()).into_owned();
    let plural = K::plural(&()).into_owned();
    let in_namespace = |object: &&K| object.namespace().as_deref() == Some(namespace);
    let mut namesakes = objects.iter().filter(|object| object.name_any() == name);
    if let Some(found) = namesakes.clone().find(in_namespace) {
        return Ok(found);
    }
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    if let Some(found) = namesakes.next().and_then(ResourceExt::namespace) {
        return Err(Diagnosis::InAnotherNamespace {
            kind,
            plural,
            name,
            namespace,
            found,
        });
    }
    let present = objects
        .iter()
        .filter(|o| o.namespace().as_deref() == Some(&namespace));
    let present: Vec<_> = present.map(ResourceExt::name_any).collect();
    if present.is_empty() {
        return Err(Diagnosis::Missing {
            kind,
            plural,
            name,
            namespace,
        });
    }
    Err(Diagnosis::NamedOtherwise {
        kind,
        plural,
        name,
        namespace,
        present: present.join(", "),
    })
}
