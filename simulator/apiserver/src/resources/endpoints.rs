//! Endpoints: the older list of a Service's addresses, which `kubectl` still prints.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints};
use serde_json::Value;

use super::columns::{self, int_at, list_at, or_none, str_at, text};
use super::pod_spec_defaults;
use super::syntax::{NameRule, name_problems, push_problems};
use super::typed::{Kind, define, words};
use super::{ResourceDef, Scope, ports};
use crate::validation::FieldError;

/// The definition of Endpoints.
pub(super) fn definition() -> ResourceDef {
    let mut definition = ResourceDef {
        short_names: words(&["ep"]),
        columns: vec![
            columns::name(),
            text("Endpoints", "Addresses that are ready.", addresses),
            columns::age(),
        ],
        ..define::<Endpoints>("", "Endpoints", "endpoints")
    };
    definition.singular = "endpoints".into();
    definition
}

impl Kind for Endpoints {
    const SCOPE: Scope = Scope::Namespaced;

    fn set_defaults(&mut self) {
        for subset in self.subsets.iter_mut().flatten() {
            for port in subset.ports.iter_mut().flatten() {
                pod_spec_defaults::text(&mut port.protocol, "TCP");
            }
        }
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        for (index, subset) in self.subsets.iter().flatten().enumerate() {
            let path = format!("subsets[{index}]");
            let ready = subset.addresses.as_deref().unwrap_or_default();
            let not_ready = subset.not_ready_addresses.as_deref().unwrap_or_default();
            if ready.is_empty() && not_ready.is_empty() {
                let rule = "must specify `addresses` or `notReadyAddresses`";
                errors.push(FieldError::required(&path, rule));
            }
            validate_addresses(ready, &format!("{path}.addresses"), errors);
            validate_addresses(not_ready, &format!("{path}.notReadyAddresses"), errors);
            let several = subset.ports.as_ref().is_some_and(|ports| ports.len() > 1);
            for (index, port) in subset.ports.iter().flatten().enumerate() {
                let path = format!("{path}.ports[{index}]");
                match port.name.as_deref().unwrap_or_default() {
                    "" if several => errors.push(FieldError::required(format!("{path}.name"), "")),
                    "" => {}
                    name => {
                        let problems = name_problems(name, NameRule::DnsLabel);
                        push_problems(errors, &format!("{path}.name"), name, problems);
                    }
                }
                ports::validate_number(port.port, &format!("{path}.port"), errors);
                let protocol = port.protocol.as_deref().unwrap_or_default();
                ports::validate_protocol(protocol, &format!("{path}.protocol"), errors);
            }
        }
    }
}

fn validate_addresses(list: &[EndpointAddress], path: &str, errors: &mut Vec<FieldError>) {
    for (index, address) in list.iter().enumerate() {
        if address.ip.parse::<IpAddr>().is_err() {
            let place = format!("{path}[{index}].ip");
            let rule = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(place, &address.ip, rule));
        }
    }
}

fn addresses(endpoints: &Value) -> String {
    let mut all = Vec::new();
    for subset in list_at(endpoints, "/subsets") {
        let ips = || {
            list_at(subset, "/addresses")
                .iter()
                .map(|address| str_at(address, "/ip"))
        };
        let ports = list_at(subset, "/ports");
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in ports {
            let port = int_at(port, "/port");
            all.extend(ips().map(|ip| format!("{ip}:{port}")));
        }
    }
    or_none(columns::at_most_three(&all, ","))
}
