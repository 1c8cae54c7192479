//! The Gateway API types (`gateway.networking.k8s.io`) that this product serves.
//!
//! Field names and meanings follow <https://gateway-api.sigs.k8s.io/reference/spec/>.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, ObjectMeta};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Serialize};

/// API group of every kind in this module.
pub const GROUP: &str = "gateway.networking.k8s.io";
/// Version of every kind in this module.
pub const VERSION: &str = "v1";
/// Version in which releases of the Gateway API before 1.5 serve [`ReferenceGrant`].
pub const OLD_GRANT_VERSION: &str = "v1beta1";

macro_rules! kind {
    ($(#[$doc:meta])* $type:ident, $scope:ty, $plural:literal, $spec:ty $(, $status:ty)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $type {
            /// Group and version.
            #[serde(default)]
            pub api_version: String,
            /// The kind's name.
            #[serde(default)]
            pub kind: String,
            /// Standard metadata.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
            $(
                /// What was observed.
                #[serde(default, skip_serializing_if = "Option::is_none")]
                pub status: Option<$status>,
            )?
        }

        impl kube_core::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;
            fn kind(_: &()) -> Cow<'_, str> { stringify!($type).into() }
            fn group(_: &()) -> Cow<'_, str> { GROUP.into() }
            fn version(_: &()) -> Cow<'_, str> { VERSION.into() }
            fn plural(_: &()) -> Cow<'_, str> { $plural.into() }
            fn meta(&self) -> &ObjectMeta { &self.metadata }
            fn meta_mut(&mut self) -> &mut ObjectMeta { &mut self.metadata }
        }
    };
}

kind!(
    /// A family of Gateways handled by one controller.
    GatewayClass, ClusterResourceScope, "gatewayclasses", GatewayClassSpec, GatewayClassStatus
);
kind!(
    /// Listeners that accept traffic into the cluster.
    Gateway, NamespaceResourceScope, "gateways", GatewaySpec, GatewayStatus
);
kind!(
    /// Rules that carry HTTP requests from listeners to Services.
    HTTPRoute, NamespaceResourceScope, "httproutes", HttpRouteSpec, RouteStatus
);
kind!(
    /// Rules that carry gRPC calls from listeners to Services.
    GRPCRoute, NamespaceResourceScope, "grpcroutes", GrpcRouteSpec, RouteStatus
);
kind!(
    /// Lets objects of other namespaces refer to objects of its own namespace.
    ReferenceGrant, NamespaceResourceScope, "referencegrants", ReferenceGrantSpec
);

/// Declares structs whose JSON is camelCase, with absent options left out and unknown fields
/// kept for `serde_ignored` to report.
macro_rules! types {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }
    )*};
}

types! {
    /// Spec of a [`GatewayClass`].
    GatewayClassSpec {
        /// `domain/path` of the controller that serves this class.
        controller_name: String,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Further configuration; ours takes none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameters_ref: Option<serde_json::Value>,
    }

    /// Status of a [`GatewayClass`].
    GatewayClassStatus {
        /// Accepted, SupportedVersion.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
        /// Features of the Gateway API that the controller supports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        supported_features: Option<Vec<SupportedFeature>>,
    }

    /// One feature's name.
    SupportedFeature {
        /// As in the Gateway API's `pkg/features`.
        name: String,
    }

    /// Spec of a [`Gateway`].
    GatewaySpec {
        /// Name of the GatewayClass.
        gateway_class_name: String,
        /// Ports, protocols and host names to accept.
        #[serde(default)]
        listeners: Vec<Listener>,
        /// Requested addresses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        addresses: Option<Vec<GatewayAddress>>,
        /// Labels and annotations for what the controller makes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        infrastructure: Option<serde_json::Value>,
    }

    /// One listener of a [`Gateway`].
    Listener {
        /// Unique within the Gateway; routes name it as `sectionName`.
        name: String,
        /// Host name that requests must have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// TCP port.
        port: i32,
        /// HTTP, HTTPS, TLS, TCP or UDP.
        protocol: String,
        /// Certificates, for HTTPS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tls: Option<ListenerTls>,
        /// Which routes may attach.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        allowed_routes: Option<AllowedRoutes>,
    }

    /// TLS of a [`Listener`].
    ListenerTls {
        /// Terminate (the default) or Passthrough.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        /// Secrets with the certificates.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        certificate_refs: Option<Vec<SecretReference>>,
        /// Implementation-specific options.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        options: Option<serde_json::Value>,
    }

    /// Reference to a Secret.
    SecretReference {
        /// Group; empty for core.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind; `Secret` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Name.
        name: String,
        /// Namespace; the referrer's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
    }

    /// Which routes may attach to a [`Listener`].
    AllowedRoutes {
        /// From which namespaces.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespaces: Option<RouteNamespaces>,
        /// Of which kinds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<RouteGroupKind>>,
    }

    /// Namespaces that routes may come from.
    RouteNamespaces {
        /// Same (the default), All or Selector.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        /// For `from: Selector`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        selector: Option<LabelSelector>,
    }

    /// A kind of route.
    RouteGroupKind {
        /// Group; the Gateway API's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind.
        kind: String,
    }

    /// An address of a [`Gateway`].
    GatewayAddress {
        /// IPAddress (the default) or Hostname.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        type_: Option<String>,
        /// The address.
        #[serde(default)]
        value: String,
    }

    /// Status of a [`Gateway`].
    GatewayStatus {
        /// Where it is reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        addresses: Option<Vec<GatewayAddress>>,
        /// Accepted, Programmed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        conditions: Vec<Condition>,
        /// One entry per listener.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        listeners: Vec<ListenerStatus>,
    }

    /// Status of one [`Listener`].
    ListenerStatus {
        /// Name of the listener.
        name: String,
        /// Kinds that may attach.
        #[serde(default)]
        supported_kinds: Vec<RouteGroupKind>,
        /// Number of routes attached.
        #[serde(default)]
        attached_routes: i32,
        /// Accepted, Programmed, ResolvedRefs, Conflicted.
        #[serde(default)]
        conditions: Vec<Condition>,
    }

    /// Spec of an [`HTTPRoute`].
    HttpRouteSpec {
        /// Gateways (or listeners of them) to attach to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_refs: Option<Vec<ParentReference>>,
        /// Host names to match; all when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostnames: Option<Vec<String>>,
        /// What to do with matching requests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules: Option<Vec<HttpRouteRule>>,
    }

    /// The Gateway that a route attaches to.
    ParentReference {
        /// Group; the Gateway API's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind; `Gateway` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Namespace; the route's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Name.
        name: String,
        /// Name of one listener; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        section_name: Option<String>,
        /// Port of the listeners meant; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<i32>,
    }

    /// One rule of an [`HTTPRoute`].
    HttpRouteRule {
        /// Unique within the route.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Any of these must match; every request does when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        matches: Option<Vec<HttpRouteMatch>>,
        /// Changes to the request or response.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filters: Option<Vec<HttpRouteFilter>>,
        /// Weighted Services.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend_refs: Option<Vec<HttpBackendRef>>,
        /// Limits on time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeouts: Option<HttpRouteTimeouts>,
    }

    /// All of these must hold for a request to match.
    HttpRouteMatch {
        /// The path; prefix `/` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<HttpPathMatch>,
        /// Headers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers: Option<Vec<HttpValueMatch>>,
        /// Query parameters.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query_params: Option<Vec<HttpValueMatch>>,
        /// Method.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
    }

    /// How a path is matched.
    HttpPathMatch {
        /// Exact, PathPrefix (the default) or RegularExpression.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        type_: Option<String>,
        /// The path; `/` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    }

    /// How a header or a query parameter is matched.
    HttpValueMatch {
        /// Exact (the default) or RegularExpression.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        type_: Option<String>,
        /// Name; of a header in any case.
        name: String,
        /// Value.
        value: String,
    }

    /// A change to a request or a response. The field named by `type_` is set.
    HttpRouteFilter {
        /// RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect,
        /// URLRewrite or ExtensionRef.
        #[serde(rename = "type")]
        type_: String,
        /// Changes to the request's headers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_header_modifier: Option<HttpHeaderModifier>,
        /// Changes to the response's headers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_header_modifier: Option<HttpHeaderModifier>,
        /// A copy of the request elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_mirror: Option<HttpRequestMirror>,
        /// An answer that sends the client elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_redirect: Option<HttpRequestRedirect>,
        /// Another host or path for the backend.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url_rewrite: Option<HttpUrlRewrite>,
        /// A filter defined elsewhere; ours has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extension_ref: Option<serde_json::Value>,
    }

    /// A copy of requests, whose answers nobody sees. All of them, or the share given by one
    /// of `percent` and `fraction`.
    HttpRequestMirror {
        /// Who gets the copies.
        backend_ref: BackendObjectReference,
        /// Share of the requests, 0 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<i32>,
        /// Share of the requests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fraction: Option<Fraction>,
    }

    /// A share.
    Fraction {
        /// At least 0, at most the denominator.
        numerator: i32,
        /// 100 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denominator: Option<i32>,
    }

    /// Reference to a Service's port.
    BackendObjectReference {
        /// Group; core by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind; `Service` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Name.
        name: String,
        /// Namespace; the referrer's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Port of the Service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<i32>,
    }

    /// Changes to headers.
    HttpHeaderModifier {
        /// Replace or add.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set: Option<Vec<HttpHeader>>,
        /// Append.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        add: Option<Vec<HttpHeader>>,
        /// Remove, by name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remove: Option<Vec<String>>,
    }

    /// A header.
    HttpHeader {
        /// Name.
        name: String,
        /// Value.
        value: String,
    }

    /// A redirect.
    HttpRequestRedirect {
        /// http or https.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scheme: Option<String>,
        /// Host of the new location.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// Path of the new location.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<HttpPathModifier>,
        /// Port of the new location.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<i32>,
        /// 301, 302 (the default), 303, 307 or 308.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status_code: Option<u16>,
    }

    /// A rewrite.
    HttpUrlRewrite {
        /// Host header for the backend.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostname: Option<String>,
        /// Path for the backend.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<HttpPathModifier>,
    }

    /// A new path.
    HttpPathModifier {
        /// ReplaceFullPath or ReplacePrefixMatch.
        #[serde(rename = "type")]
        type_: String,
        /// For ReplaceFullPath.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replace_full_path: Option<String>,
        /// For ReplacePrefixMatch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replace_prefix_match: Option<String>,
    }

    /// A weighted backend.
    HttpBackendRef {
        /// Group; core by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind; `Service` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Name.
        name: String,
        /// Namespace; the route's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Port of the Service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<i32>,
        /// Share of the requests, relative to the sum; 1 by default, 0 receives nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<i32>,
        /// Changes for requests to this backend alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filters: Option<Vec<HttpRouteFilter>>,
    }

    /// Limits on time, as Gateway API durations (`10s`, `500ms`, `0s` for none).
    HttpRouteTimeouts {
        /// For the whole request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
        /// For one try at a backend.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend_request: Option<String>,
    }

    /// Spec of a [`GRPCRoute`].
    GrpcRouteSpec {
        /// Gateways (or listeners of them) to attach to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent_refs: Option<Vec<ParentReference>>,
        /// Host names to match; all when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hostnames: Option<Vec<String>>,
        /// What to do with matching calls.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rules: Option<Vec<GrpcRouteRule>>,
    }

    /// One rule of a [`GRPCRoute`].
    GrpcRouteRule {
        /// Unique within the route.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Any of these must match; every call does when empty.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        matches: Option<Vec<GrpcRouteMatch>>,
        /// Changes to the call or its answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filters: Option<Vec<GrpcRouteFilter>>,
        /// Weighted Services.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backend_refs: Option<Vec<GrpcBackendRef>>,
    }

    /// All of these must hold for a call to match.
    GrpcRouteMatch {
        /// Service and method; all when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<GrpcMethodMatch>,
        /// Headers (gRPC metadata).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        headers: Option<Vec<HttpValueMatch>>,
    }

    /// How service and method are matched; at least one of them is given.
    GrpcMethodMatch {
        /// Exact (the default) or RegularExpression.
        #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
        type_: Option<String>,
        /// Service with its package; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        /// Method; any when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
    }

    /// A change to a call or its answer. The field named by `type_` is set.
    GrpcRouteFilter {
        /// RequestHeaderModifier, ResponseHeaderModifier, RequestMirror or ExtensionRef.
        #[serde(rename = "type")]
        type_: String,
        /// Changes to the call's headers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_header_modifier: Option<HttpHeaderModifier>,
        /// Changes to the answer's headers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response_header_modifier: Option<HttpHeaderModifier>,
        /// A copy of the call elsewhere.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request_mirror: Option<HttpRequestMirror>,
        /// A filter defined elsewhere; ours has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extension_ref: Option<serde_json::Value>,
    }

    /// A weighted backend of a [`GRPCRoute`].
    GrpcBackendRef {
        /// Group; core by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Kind; `Service` by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<String>,
        /// Name.
        name: String,
        /// Namespace; the route's by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Port of the Service.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<i32>,
        /// Share of the calls, relative to the sum; 1 by default, 0 receives nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weight: Option<i32>,
        /// Changes for calls to this backend alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filters: Option<Vec<GrpcRouteFilter>>,
    }

    /// Spec of a [`ReferenceGrant`]: anything in `from` may refer to anything in `to`.
    ReferenceGrantSpec {
        /// Who may refer.
        from: Vec<ReferenceGrantFrom>,
        /// To what in the grant's own namespace.
        to: Vec<ReferenceGrantTo>,
    }

    /// A kind of objects in a namespace.
    ReferenceGrantFrom {
        /// Group; empty for core.
        group: String,
        /// Kind.
        kind: String,
        /// Namespace.
        namespace: String,
    }

    /// A kind of objects, or one of them.
    ReferenceGrantTo {
        /// Group; empty for core.
        group: String,
        /// Kind.
        kind: String,
        /// Name; every object of the kind when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    }

    /// Status of a route.
    RouteStatus {
        /// One entry per parent and controller.
        #[serde(default)]
        parents: Vec<RouteParentStatus>,
    }

    /// What one controller says of a route under one parent.
    RouteParentStatus {
        /// The parent, as the route names it.
        parent_ref: ParentReference,
        /// The controller that wrote this.
        controller_name: String,
        /// Accepted, ResolvedRefs.
        #[serde(default)]
        conditions: Vec<Condition>,
    }
}

/// A filter of gRPC is one of HTTP, too.
impl From<GrpcRouteFilter> for HttpRouteFilter {
    fn from(filter: GrpcRouteFilter) -> Self {
        let GrpcRouteFilter {
            type_,
            request_header_modifier,
            response_header_modifier,
            request_mirror,
            extension_ref,
        } = filter;
        Self {
            type_,
            request_header_modifier,
            response_header_modifier,
            request_mirror,
            extension_ref,
            ..Self::default()
        }
    }
}

/// A backend of gRPC is one of HTTP, too.
impl From<GrpcBackendRef> for HttpBackendRef {
    fn from(backend: GrpcBackendRef) -> Self {
        let GrpcBackendRef {
            group,
            kind,
            name,
            namespace,
            port,
            weight,
            filters,
        } = backend;
        let filters = filters.map(|filters| filters.into_iter().map(Into::into).collect());
        Self {
            group,
            kind,
            name,
            namespace,
            port,
            weight,
            filters,
        }
    }
}

/// Whoever gets copies is a backend without weight.
impl From<BackendObjectReference> for HttpBackendRef {
    fn from(reference: BackendObjectReference) -> Self {
        let BackendObjectReference {
            group,
            kind,
            name,
            namespace,
            port,
        } = reference;
        Self {
            group,
            kind,
            name,
            namespace,
            port,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_round_trips_without_adding_fields() {
        let text = serde_json::json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "hello"},
            "spec": {
                "parentRefs": [{"name": "devops-lab", "sectionName": "production"}],
                "rules": [{"backendRefs": [{"name": "hello", "port": 80, "weight": 90}]}]
            }
        });
        let route: HTTPRoute = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&route).unwrap(), text);
    }
}
