//! How lists merge: the `patchStrategy` and `patchMergeKey` of the API types.
//!
//! Keyed by field names rather than by type, because those who merge JSON know no types: the API
//! server, which merges, and the built-in kubectl, which works out what to send. Where one name
//! means two things, the parent or the kind decides.
//! <https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/>

/// How two values of a list field become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// The new list replaces the old one.
    Atomic,
    /// Items with the same value in this field are the same item.
    Keyed(&'static str),
    /// Scalars, each once.
    Set,
}

/// Groups whose kinds kubectl has compiled in. Others are custom resources to it, and custom
/// resources have no strategic merge patch.
const BUILT_IN_GROUPS: [&str; 15] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// False for what a real cluster defines by CustomResourceDefinition, the Gateway API included.
#[must_use]
pub fn is_built_in(group: &str) -> bool {
    BUILT_IN_GROUPS.contains(&group)
}

/// How the list `field` merges, in an object of `kind`, inside the field `parent` (list items
/// count as being inside the field of their list).
#[must_use]
pub fn kind_of(kind: &str, parent: &str, field: &str) -> ListKind {
    use ListKind::{Atomic, Keyed, Set};
    match (field, parent) {
        ("containers" | "initContainers" | "ephemeralContainers", _) => Keyed("name"),
        ("env" | "volumes" | "imagePullSecrets" | "schedulingGates" | "resourceClaims", _) => {
            Keyed("name")
        }
        ("secrets", _) if kind == "ServiceAccount" => Keyed("name"),
        ("ports", "containers" | "initContainers" | "ephemeralContainers") => {
            Keyed("containerPort")
        }
        ("ports", "spec") if kind == "Service" => Keyed("port"),
        ("volumeMounts", _) => Keyed("mountPath"),
        ("volumeDevices", _) => Keyed("devicePath"),
        ("hostAliases" | "podIPs" | "hostIPs", _) => Keyed("ip"),
        ("topologySpreadConstraints", _) => Keyed("topologyKey"),
        ("conditions", _) => Keyed("type"),
        ("addresses", "status") if kind == "Node" => Keyed("type"),
        ("ownerReferences", "metadata") => Keyed("uid"),
        ("finalizers", "metadata") | ("podCIDRs", _) => Set,
        _ => Atomic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(kind: &str, parent: &str, field: &str, expected: ListKind) {
        assert_eq!(
            kind_of(kind, parent, field),
            expected,
            "{kind} {parent}.{field}"
        );
    }

    #[test]
    fn the_same_name_may_merge_differently_in_two_places() {
        case(
            "Pod",
            "containers",
            "ports",
            ListKind::Keyed("containerPort"),
        );
        case("Service", "spec", "ports", ListKind::Keyed("port"));
        case("EndpointSlice", "", "ports", ListKind::Atomic);
        case("Node", "status", "addresses", ListKind::Keyed("type"));
        case("Endpoints", "subsets", "addresses", ListKind::Atomic);
        case("Pod", "metadata", "finalizers", ListKind::Set);
        case("Namespace", "spec", "finalizers", ListKind::Atomic);
        case("Deployment", "spec", "tolerations", ListKind::Atomic);
    }
}
