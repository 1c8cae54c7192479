//! The environment of a container: literal values, references, and the Services around it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret, Service,
};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use lab_api::quantity::{cpu_millis, memory_bytes};

use crate::config::NodeSpec;

/// Why a container cannot be configured; becomes the message of `CreateContainerConfigError`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// An object that the pod refers to is not there.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The object is there, the key is not.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    NoKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// Namespace of the object.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// Something that this cluster does not offer.
    #[error("{0}")]
    Unsupported(String),
    /// The API server did not answer.
    #[error("the API server did not answer")]
    Api(#[source] kube::Error),
}

/// Reads what a pod refers to, each object once.
pub(crate) struct References<'a> {
    client: &'a Client,
    namespace: String,
}

impl<'a> References<'a> {
    /// For one pod.
    pub(crate) fn new(client: &'a Client, pod: &Pod) -> Self {
        Self {
            client,
            namespace: pod.namespace().unwrap_or_default(),
        }
    }

    /// A ConfigMap's entries as bytes; `None` when it is absent and `optional`.
    pub(crate) async fn config_map(
        &self,
        name: &str,
        optional: bool,
    ) -> Result<Option<Entries>, ConfigError> {
        let found = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace)
            .get_opt(name)
            .await;
        let Some(map) = found.map_err(ConfigError::Api)? else {
            return missing("configmap", name, optional);
        };
        let text = map
            .data
            .into_iter()
            .flatten()
            .map(|(key, value)| (key, value.into_bytes()));
        let binary = map
            .binary_data
            .into_iter()
            .flatten()
            .map(|(key, value)| (key, value.0));
        Ok(Some(text.chain(binary).collect()))
    }

    /// A Secret's entries; `None` when it is absent and `optional`.
    pub(crate) async fn secret(
        &self,
        name: &str,
        optional: bool,
    ) -> Result<Option<Entries>, ConfigError> {
        let found = Api::<Secret>::namespaced(self.client.clone(), &self.namespace)
            .get_opt(name)
            .await;
        let Some(secret) = found.map_err(ConfigError::Api)? else {
            return missing("secret", name, optional);
        };
        Ok(Some(
            secret
                .data
                .into_iter()
                .flatten()
                .map(|(key, value)| (key, value.0))
                .collect(),
        ))
    }

    /// `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`, which every pod has.
    pub(crate) async fn api(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let services = Api::<Service>::namespaced(self.client.clone(), "default");
        let service = services
            .get_opt("kubernetes")
            .await
            .map_err(ConfigError::Api)?;
        Ok(service.iter().flat_map(service_variables).collect())
    }

    /// `HELLO_SERVICE_HOST` and friends, for every Service of the namespace.
    /// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
    pub(crate) async fn services(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let services = Api::<Service>::namespaced(self.client.clone(), &self.namespace);
        let services = services
            .list(&ListParams::default())
            .await
            .map_err(ConfigError::Api)?;
        Ok(services.items.iter().flat_map(service_variables).collect())
    }
}

/// Keys and values of a ConfigMap or Secret.
pub(crate) type Entries = BTreeMap<String, Vec<u8>>;

fn missing(kind: &'static str, name: &str, optional: bool) -> Result<Option<Entries>, ConfigError> {
    if optional {
        Ok(None)
    } else {
        Err(ConfigError::NotFound {
            kind,
            name: name.to_owned(),
        })
    }
}

fn service_variables(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.as_ref();
    let address = spec
        .and_then(|s| s.cluster_ip.clone())
        .filter(|ip| !ip.is_empty() && ip != "None");
    let ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let (Some(address), Some(first)) = (address, ports.first()) else {
        return Vec::new();
    };
    let prefix = service.name_any().to_uppercase().replace(['-', '.'], "_");
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), address),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(name) = &port.name {
            let name = name.to_uppercase().replace('-', "_");
            variables.push((
                format!("{prefix}_SERVICE_PORT_{name}"),
                port.port.to_string(),
            ));
        }
    }
    variables
}

/// The environment of a container, in order; later entries win.
pub(crate) async fn resolve(
    references: &References<'_>,
    pod: &Pod,
    container: &Container,
    node: &NodeSpec,
    pod_ip: &str,
) -> Result<Vec<(String, String)>, ConfigError> {
    let links = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.enable_service_links)
        .unwrap_or(true);
    let mut variables = references.api().await?;
    if links {
        variables.extend(references.services().await?);
    }
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let entries = match (&source.config_map_ref, &source.secret_ref) {
            (Some(map), _) => {
                references
                    .config_map(&map.name, map.optional.unwrap_or(false))
                    .await?
            }
            (None, Some(secret)) => {
                references
                    .secret(&secret.name, secret.optional.unwrap_or(false))
                    .await?
            }
            (None, None) => None,
        };
        for (key, value) in entries.into_iter().flatten() {
            variables.push((
                format!("{prefix}{key}"),
                String::from_utf8_lossy(&value).into_owned(),
            ));
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(references, pod, container, node, pod_ip, variable).await? {
            let value = expand(&value, &variables);
            variables.push((variable.name.clone(), value));
        }
    }
    Ok(variables)
}

async fn value_of(
    references: &References<'_>,
    pod: &Pod,
    container: &Container,
    node: &NodeSpec,
    pod_ip: &str,
    variable: &EnvVar,
) -> Result<Option<String>, ConfigError> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(variable.value.clone().unwrap_or_default()));
    };
    if let Some(field) = &source.field_ref {
        return field_value(pod, node, pod_ip, &field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return Ok(Some(resource_value(container, node, &resource.resource)));
    }
    from_key(references, source).await
}

async fn from_key(
    references: &References<'_>,
    source: &EnvVarSource,
) -> Result<Option<String>, ConfigError> {
    let (kind, name, key, optional, entries) = if let Some(from) = &source.config_map_key_ref {
        let optional = from.optional.unwrap_or(false);
        (
            "ConfigMap",
            &from.name,
            &from.key,
            optional,
            references.config_map(&from.name, optional).await?,
        )
    } else if let Some(from) = &source.secret_key_ref {
        let optional = from.optional.unwrap_or(false);
        (
            "Secret",
            &from.name,
            &from.key,
            optional,
            references.secret(&from.name, optional).await?,
        )
    } else {
        return Err(ConfigError::Unsupported(
            "an environment variable has a source that is not supported here".to_owned(),
        ));
    };
    match entries.and_then(|mut entries| entries.remove(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
        None if optional => Ok(None),
        None => Err(ConfigError::NoKey {
            kind,
            namespace: references.namespace.clone(),
            name: name.clone(),
            key: key.clone(),
        }),
    }
}

/// The value of a downward API field.
/// <https://kubernetes.io/docs/concepts/workloads/pods/downward-api/>
pub(crate) fn field_value(
    pod: &Pod,
    node: &NodeSpec,
    pod_ip: &str,
    path: &str,
) -> Result<String, ConfigError> {
    let spec = pod.spec.as_ref();
    let value = match path {
        "metadata.name" => pod.name_any(),
        "metadata.namespace" => pod.namespace().unwrap_or_default(),
        "metadata.uid" => pod.uid().unwrap_or_default(),
        "metadata.labels" => pairs(pod.labels()),
        "metadata.annotations" => pairs(pod.annotations()),
        "spec.nodeName" => node.name.clone(),
        "spec.serviceAccountName" => spec
            .and_then(|s| s.service_account_name.clone())
            .unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => node.ip.to_string(),
        "status.podIP" | "status.podIPs" => pod_ip.to_owned(),
        other => return keyed_value(pod, other),
    };
    Ok(value)
}

fn keyed_value(pod: &Pod, path: &str) -> Result<String, ConfigError> {
    let keyed = |prefix: &str| {
        path.strip_prefix(prefix)?
            .strip_suffix("']")
            .map(str::to_owned)
    };
    if let Some(key) = keyed("metadata.labels['") {
        return Ok(pod.labels().get(&key).cloned().unwrap_or_default());
    }
    if let Some(key) = keyed("metadata.annotations['") {
        return Ok(pod.annotations().get(&key).cloned().unwrap_or_default());
    }
    Err(ConfigError::Unsupported(format!(
        "unsupported fieldPath: {path}"
    )))
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    map.iter()
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn resource_value(container: &Container, node: &NodeSpec, resource: &str) -> String {
    let resources = container.resources.as_ref();
    let (limits, requests) = (
        resources.and_then(|r| r.limits.as_ref()),
        resources.and_then(|r| r.requests.as_ref()),
    );
    // CPU is given in whole cores, rounded up, as with the default divisor.
    let cores = |millis: u64| millis.div_ceil(1000).to_string();
    match resource {
        "limits.cpu" => cores(
            limits
                .and_then(|l| l.get("cpu"))
                .map_or(node.cpu_millis, |q| cpu_millis(Some(q))),
        ),
        "limits.memory" => limits
            .and_then(|l| l.get("memory"))
            .map_or(node.memory_bytes, |q| memory_bytes(Some(q)))
            .to_string(),
        "requests.cpu" => cores(cpu_millis(requests.and_then(|r| r.get("cpu")))),
        "requests.memory" => memory_bytes(requests.and_then(|r| r.get("memory"))).to_string(),
        _ => String::new(),
    }
}

/// Replaces `$(NAME)` by the variable's value; `$$(NAME)` stays `$(NAME)`, an unknown name stays
/// as written.
pub(crate) fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix("$$") {
            expanded.push('$');
            rest = escaped;
        } else if let Some((name, tail)) = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'))
        {
            match variables.iter().rev().find(|(key, _)| key == name) {
                Some((_, value)) => expanded.push_str(value),
                None => expanded.push_str(&rest[..name.len() + 3]),
            }
            rest = tail;
        } else {
            expanded.push('$');
            rest = &rest[1..];
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn case(text: &str, expected: &str) {
        let variables = [
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "2".to_owned()),
        ];
        assert_eq!(expand(text, &variables), expected);
    }

    #[test]
    fn references_expand_as_the_api_documents() {
        case("plain", "plain");
        case("$(A)-$(B)", "1-2");
        case("$$(A)", "$(A)");
        case("$(NONE)", "$(NONE)");
        case("cost: 5$", "cost: 5$");
        case("$(A", "$(A");
    }

    #[test]
    fn a_service_announces_itself_in_the_environment() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "hello-web"},
            "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]}
        }))
        .unwrap();
        let names: Vec<_> = service_variables(&service)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            names,
            [
                "HELLO_WEB_SERVICE_HOST=10.0.0.1",
                "HELLO_WEB_SERVICE_PORT=80",
                "HELLO_WEB_SERVICE_PORT_HTTP=80"
            ]
        );
    }
}
