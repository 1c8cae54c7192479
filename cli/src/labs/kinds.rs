//! Every kind that a cluster serves, as its discovery tells.

use futures::future::try_join_all;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client};
use serde_json::Value;

/// A kind, and a namespace for those kinds that have one.
pub(crate) struct TypedName<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

/// The kinds that a cluster serves, once each, whose objects can be listed and made.
pub(crate) struct Kinds(Vec<(ApiResource, Scope)>);

impl Kinds {
    /// Asks the API.
    ///
    /// # Errors
    /// Where it does not answer.
    pub(crate) async fn of(client: &Client) -> Result<Self, kube::Error> {
        let discovery = Discovery::new(client.clone()).run_aggregated().await?;
        let kinds = discovery
            .groups()
            .flat_map(|group| group.resources_by_stability())
            .filter(|(_, can)| {
                [verbs::LIST, verbs::CREATE, verbs::DELETE]
                    .iter()
                    .all(|verb| can.supports_operation(verb))
            })
            .map(|(resource, can)| (resource, can.scope));
        Ok(Self(kinds.collect()))
    }

    /// Where the objects of a kind are found; none where the cluster serves no such kind.
    pub(crate) fn api(&self, client: &Client, of: &TypedName<'_>) -> Option<Api<DynamicObject>> {
        let (resource, scope) = self.0.iter().find(|(resource, _)| {
            resource.kind == of.kind && resource.api_version == of.api_version
        })?;
        Some(match scope {
            Scope::Namespaced => Api::namespaced_with(client.clone(), of.namespace, resource),
            Scope::Cluster => Api::all_with(client.clone(), resource),
        })
    }

    /// Where the objects of each kind are found that a learner sees: those of a namespace, and
    /// those of none; with the name of the kind.
    pub(crate) fn seen_from(
        &self,
        client: &Client,
        namespace: &str,
    ) -> Vec<(String, Api<DynamicObject>)> {
        let api = |(resource, scope): &(ApiResource, Scope)| {
            let api = match scope {
                Scope::Namespaced => Api::namespaced_with(client.clone(), namespace, resource),
                Scope::Cluster => Api::all_with(client.clone(), resource),
            };
            (resource.kind.clone(), api)
        };
        self.0.iter().map(api).collect()
    }

    /// Every object of every kind, as the API has it.
    ///
    /// # Errors
    /// Where the API does not answer.
    pub(crate) async fn list_all(&self, client: &Client) -> Result<Vec<Value>, kube::Error> {
        let lists = self.0.iter().map(|(resource, _)| list(client, resource));
        Ok(try_join_all(lists).await?.into_iter().flatten().collect())
    }
}

async fn list(client: &Client, resource: &ApiResource) -> Result<Vec<Value>, kube::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let found = api.list(&ListParams::default()).await?;
    let typed = |object: DynamicObject| {
        let mut value = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
        // Lists name the type once.
        value["apiVersion"] = Value::from(resource.api_version.clone());
        value["kind"] = Value::from(resource.kind.clone());
        Ok(value)
    };
    found.items.into_iter().map(typed).collect()
}
