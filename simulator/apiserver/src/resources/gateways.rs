//! Gateway: listeners that accept traffic into the cluster.

use std::collections::BTreeSet;

use lab_api::gateway::{
    AllowedRoutes, GROUP, Gateway, GatewayStatus, Listener, ListenerTls, RouteNamespaces,
};
use lab_api::names::is_dns_subdomain;
use serde_json::Value;

use super::columns::{self, cell, condition, list_at, str_at, text};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, custom};
use crate::validation::FieldError;

/// The definition of Gateway.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["gtw"]),
        categories: words(&["gateway-api"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Class", "Its GatewayClass.", |o| {
                str_at(o, "/spec/gatewayClassName").to_owned()
            }),
            cell("Address", "string", "Where it is reached.", |o, _| {
                addresses(o)
            }),
            cell(
                "Programmed",
                "string",
                "Whether it takes traffic.",
                |o, _| condition(o, "Programmed").map_or(Value::Null, |c| c["status"].clone()),
            ),
            custom::age(),
        ],
        ..define::<Gateway>(GROUP, "Gateway", "gateways")
    }
}

/// JSONPath prints the values of several addresses with commas between.
fn addresses(gateway: &Value) -> Value {
    let all = list_at(gateway, "/status/addresses").iter();
    let values: Vec<&str> = all.map(|address| str_at(address, "/value")).collect();
    if values.is_empty() {
        Value::Null
    } else {
        Value::String(values.join(","))
    }
}

/// Most listeners of one Gateway.
const LISTENERS_MAX: usize = 64;

impl Kind for Gateway {
    const SCOPE: Scope = Scope::Namespaced;
    const OMITS_EMPTY: bool = false;

    fn set_defaults(&mut self) {
        self.spec.listeners.iter_mut().for_each(default_listener);
        for address in self.spec.addresses.iter_mut().flatten() {
            address.type_.get_or_insert_with(|| "IPAddress".to_owned());
        }
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(GatewayStatus {
            conditions: ["Accepted", "Programmed"].map(custom::waiting).to_vec(),
            ..GatewayStatus::default()
        });
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let class = "spec.gatewayClassName";
        custom::validate_not_empty(&self.spec.gateway_class_name, class, errors);
        let listeners = &self.spec.listeners;
        let path = "spec.listeners";
        if listeners.is_empty() {
            let rule = format!("{path} in body should have at least 1 items");
            errors.push(FieldError::invalid(path, 0, rule));
        }
        if listeners.len() > LISTENERS_MAX {
            errors.push(FieldError::too_many(path, listeners.len(), LISTENERS_MAX));
        }
        for (index, listener) in listeners.iter().enumerate() {
            validate_listener(listener, &format!("{path}[{index}]"), errors);
        }
        validate_uniqueness(listeners, path, errors);
    }
}

fn default_listener(listener: &mut Listener) {
    let routes: &mut AllowedRoutes = listener.allowed_routes.get_or_insert_default();
    let namespaces: &mut RouteNamespaces = routes.namespaces.get_or_insert_default();
    namespaces.from.get_or_insert_with(|| "Same".to_owned());
    for kind in routes.kinds.iter_mut().flatten() {
        kind.group.get_or_insert_with(|| GROUP.to_owned());
    }
    if let Some(tls) = &mut listener.tls {
        tls.mode.get_or_insert_with(|| "Terminate".to_owned());
        for secret in tls.certificate_refs.iter_mut().flatten() {
            secret.group.get_or_insert_default();
            secret.kind.get_or_insert_with(|| "Secret".to_owned());
        }
    }
}

fn validate_listener(listener: &Listener, path: &str, errors: &mut Vec<FieldError>) {
    let name = listener.name.as_str();
    let pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    let place = format!("{path}.name");
    custom::validate_pattern(name, is_dns_subdomain(name), pattern, &place, errors);
    let place = format!("{path}.port");
    custom::validate_range(i64::from(listener.port), (1, 65_535), &place, errors);
    custom::validate_not_empty(&listener.protocol, &format!("{path}.protocol"), errors);
    if let Some(hostname) = listener.hostname.as_deref().filter(|name| !name.is_empty()) {
        custom::validate_hostname(hostname, &format!("{path}.hostname"), errors);
    }
    let from = listener
        .allowed_routes
        .as_ref()
        .and_then(|routes| routes.namespaces.as_ref());
    let from = from.and_then(|namespaces| namespaces.from.as_deref());
    let place = format!("{path}.allowedRoutes.namespaces.from");
    custom::validate_choice(from, &["All", "Selector", "Same"], &place, errors);
}

fn validate_uniqueness(listeners: &[Listener], path: &str, errors: &mut Vec<FieldError>) {
    let mut rules = Vec::new();
    let of =
        |listener: &Listener, protocols: &[&str]| protocols.contains(&listener.protocol.as_str());
    let any = |f: &dyn Fn(&Listener) -> bool| listeners.iter().any(f);
    if any(&|l| l.tls.is_some() && of(l, &["HTTP", "TCP", "UDP"])) {
        rules.push("tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']");
    }
    let mode = |tls: &ListenerTls| tls.mode.as_deref() == Some("Terminate");
    if any(&|l| of(l, &["HTTPS"]) && l.tls.as_ref().is_some_and(|tls| !mode(tls))) {
        rules.push("tls mode must be Terminate for protocol HTTPS");
    }
    let named = |l: &Listener| l.hostname.as_deref().is_some_and(|name| !name.is_empty());
    if any(&|l| of(l, &["TCP", "UDP"]) && named(l)) {
        rules.push("hostname must not be specified for protocols ['TCP', 'UDP']");
    }
    let mut names = BTreeSet::new();
    if !listeners.iter().all(|l| names.insert(&l.name)) {
        rules.push("Listener name must be unique within the Gateway");
    }
    let mut places = BTreeSet::new();
    if !listeners.iter().all(|l| {
        places.insert((
            l.port,
            &l.protocol,
            l.hostname.as_deref().unwrap_or_default(),
        ))
    }) {
        rules.push("Combination of port, protocol and hostname must be unique for each listener");
    }
    errors.extend(
        rules
            .into_iter()
            .map(|rule| custom::broken(path, "array", rule)),
    );
}
