//! Labels, annotations, taints and well-known names, and the rules that names follow.
//!
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/>

/// Marks a Deployment's ReplicaSets and their pods with the hash of the pod template.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// Revision number of a Deployment or of one of its ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier revision numbers of a ReplicaSet, comma-separated.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Replicas that the Deployment wanted when it last scaled this ReplicaSet.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// Desired replicas plus surge at that moment.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Why a revision was made, shown by `kubectl rollout history`.
pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// What `kubectl apply` applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Cost of deleting a pod when its ReplicaSet shrinks; lower goes first.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Host name of a node, the topology key for spreading over nodes.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Operating system of a node.
pub const OS: &str = "kubernetes.io/os";
/// Processor architecture of a node.
pub const ARCH: &str = "kubernetes.io/arch";
/// The Service that an EndpointSlice belongs to.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Which controller manages an EndpointSlice.
pub const ENDPOINT_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Value of [`ENDPOINT_SLICE_MANAGED_BY`] for slices made from a Service's selector.
pub const ENDPOINT_SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// Taint of a node that reported not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint of a node that stopped reporting.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint of a cordoned node.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint that lets pods of a dead node be deleted at once.
pub const TAINT_OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Where node leases live.
pub const NODE_LEASE_NAMESPACE: &str = "kube-node-lease";
/// The name that schedules pods unless they ask for another.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Tells which container `kubectl logs` and `exec` mean by default.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Controller name of our GatewayClass.
pub const GATEWAY_CONTROLLER: &str = "devops-lab.dev/gateway";
/// Controller name of our IngressClass.
pub const INGRESS_CONTROLLER: &str = "devops-lab.dev/ingress";
/// Older way of an Ingress to name its class.
pub const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
/// Marks the IngressClass of Ingresses that name none.
pub const DEFAULT_INGRESS_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// Name of the GatewayClass, of the IngressClass and of the default Gateway that every cluster starts with.
pub const DEFAULT_GATEWAY: &str = "devops-lab";
/// Namespace of the default Gateway.
pub const DEFAULT_GATEWAY_NAMESPACE: &str = "default";
/// Name of the default Gateway's production listener.
pub const PRODUCTION_LISTENER: &str = "production";
/// Name of the default Gateway's test listener.
pub const TEST_LISTENER: &str = "test";

/// Longest DNS label, in bytes (RFC 1123).
pub const DNS_LABEL_MAX: usize = 63;
/// Longest DNS subdomain that Kubernetes accepts, in bytes.
pub const DNS_SUBDOMAIN_MAX: usize = 253;

/// True for an RFC 1123 label: lower-case letters, digits and `-`, with a letter or digit at
/// both ends, 63 bytes at most.
#[must_use]
pub fn is_dns_label(name: &str) -> bool {
    name.len() <= DNS_LABEL_MAX && is_label_shape(name)
}

/// True for an RFC 1123 subdomain: labels joined by dots, 253 bytes at most.
#[must_use]
pub fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= DNS_SUBDOMAIN_MAX && name.split('.').all(is_label_shape)
}

fn is_label_shape(label: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    match label.as_bytes() {
        [] => false,
        bytes => {
            edge(bytes[0])
                && edge(bytes[bytes.len() - 1])
                && bytes.iter().all(|&byte| edge(byte) || byte == b'-')
        }
    }
}

/// True for a label value: empty, or up to 63 letters, digits, `-`, `_` and `.`, with a letter
/// or digit at both ends.
#[must_use]
pub fn is_label_value(value: &str) -> bool {
    value.is_empty() || (value.len() <= DNS_LABEL_MAX && is_name_shape(value))
}

/// True for a label or annotation key: an optional DNS subdomain and `/`, then a name of up to
/// 63 bytes.
#[must_use]
pub fn is_qualified_name(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    prefix.is_none_or(is_dns_subdomain) && name.len() <= DNS_LABEL_MAX && is_name_shape(name)
}

fn is_name_shape(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() && bytes.iter().all(inner)
        }
        _ => false,
    }
}

/// `prefix` followed by `suffix`, with the prefix cut so that the whole fits a DNS label, as
/// the API server does for `generateName`.
#[must_use]
pub fn generated(prefix: &str, suffix: &str) -> String {
    let room = DNS_LABEL_MAX - suffix.len().min(DNS_LABEL_MAX);
    let cut = prefix
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|&end| end <= room)
        .last();
    format!("{}{suffix}", &prefix[..cut.unwrap_or(0)])
}

/// Label of a Job's pods: the Job's uid.
pub const JOB_CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
/// Label of a Job's pods: the Job's name.
pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfc() {
        for good in ["a", "web-1", "0", &"a".repeat(63)] {
            assert!(is_dns_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert!(!is_dns_label(bad), "{bad}");
        }
        assert!(is_dns_subdomain("a.b-c.d"));
        assert!(!is_dns_subdomain("a..b"));
    }

    #[test]
    fn label_keys_may_have_a_prefix() {
        assert!(is_qualified_name("app"));
        assert!(is_qualified_name("app.kubernetes.io/name"));
        assert!(!is_qualified_name("/name"));
        assert!(!is_qualified_name("a/b/c"));
        assert!(is_label_value(""));
        assert!(!is_label_value("a b"));
    }

    #[test]
    fn a_generated_name_never_exceeds_a_label() {
        assert_eq!(generated("web-", "x2b9k"), "web-x2b9k");
        assert_eq!(generated(&"a".repeat(80), "x2b9k").len(), DNS_LABEL_MAX);
    }
}
