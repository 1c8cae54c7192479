//! Which kinds the API serves, for the controllers that deal with all of them.

use kube::core::discovery::{ApiCapabilities, ApiResource, Scope, verbs};
use kube::{Client, Discovery};

use crate::runner::{During, Error};

/// A kind that the API serves.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Namespaced or not.
    pub namespaced: bool,
}

/// Every kind whose objects can be listed, watched and deleted, in its preferred version.
pub(crate) async fn served(client: &Client) -> Result<Vec<Served>, Error> {
    let discovery = Discovery::new(client.clone())
        .run_aggregated()
        .await
        .during(|| "discover the kinds that the API serves".to_owned())?;
    Ok(discovery
        .groups()
        .flat_map(|group| group.recommended_resources())
        .filter(|(_, capabilities)| is_managed(capabilities))
        .map(|(resource, capabilities)| Served {
            resource,
            namespaced: capabilities.scope == Scope::Namespaced,
        })
        .collect())
}

fn is_managed(capabilities: &ApiCapabilities) -> bool {
    [verbs::LIST, verbs::WATCH, verbs::DELETE]
        .iter()
        .all(|verb| capabilities.supports_operation(verb))
}
