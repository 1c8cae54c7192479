//! Who may refer to objects of another namespace.
//!
//! <https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant>

use lab_api::gateway::GROUP;

use crate::world::World;

/// A reference across namespaces: from objects of a kind of the Gateway API in a namespace, to
/// an object of the core group in another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    /// Kind of the referrer, such as `HTTPRoute`.
    pub(super) from_kind: &'a str,
    pub(super) from_namespace: &'a str,
    /// Kind referred to, such as `Service`.
    pub(super) to_kind: &'a str,
    pub(super) to_namespace: &'a str,
    pub(super) to_name: &'a str,
}

impl Reference<'_> {
    /// True within one namespace, and where a ReferenceGrant of the other namespace allows it.
    pub(super) fn is_allowed(&self, world: &World) -> bool {
        if self.from_namespace == self.to_namespace {
            return true;
        }
        let there = world
            .grants
            .iter()
            .filter(|grant| grant.metadata.namespace.as_deref() == Some(self.to_namespace));
        there.map(|grant| &grant.spec).any(|spec| {
            let from = spec.from.iter().any(|from| {
                from.group == GROUP
                    && from.kind == self.from_kind
                    && from.namespace == self.from_namespace
            });
            let to = spec.to.iter().any(|to| {
                let named = to.name.as_deref().filter(|name| !name.is_empty());
                to.group.is_empty()
                    && to.kind == self.to_kind
                    && named.is_none_or(|name| name == self.to_name)
            });
            from && to
        })
    }

    /// What to do about a reference that is not allowed.
    pub(super) fn refused(&self) -> String {
        let Self {
            from_kind,
            from_namespace,
            to_kind,
            to_namespace,
            to_name,
        } = self;
        format!(
            "{to_kind} {to_name} is in namespace {to_namespace}, where no ReferenceGrant lets \
             a {from_kind} of namespace {from_namespace} refer to it"
        )
    }
}
