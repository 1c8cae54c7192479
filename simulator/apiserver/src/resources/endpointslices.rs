//! EndpointSlice: addresses behind a Service, and whether they take requests.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use super::columns::{self, list_at, str_at, text};
use super::typed::{Kind, define};
use super::{ResourceDef, Scope, ports};
use crate::validation::FieldError;

/// The definition of EndpointSlice.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        columns: vec![
            columns::name(),
            text("AddressType", "IPv4, IPv6 or FQDN.", |o| {
                str_at(o, "/addressType").to_owned()
            }),
            text("Ports", "Ports of every endpoint.", port_numbers),
            text("Endpoints", "Addresses.", addresses),
            columns::age(),
        ],
        ..define::<EndpointSlice>("discovery.k8s.io", "EndpointSlice", "endpointslices")
    }
}

const ADDRESS_TYPES: &[&str] = &["IPv4", "IPv6", "FQDN"];
/// Most endpoints of one slice, and most addresses of one endpoint.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

impl Kind for EndpointSlice {
    const SCOPE: Scope = Scope::Namespaced;
    // An empty port name and an empty list of endpoints are told apart from absent ones.
    const OMITS_EMPTY: bool = false;

    fn set_defaults(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.name.get_or_insert_default();
            port.protocol.get_or_insert_with(|| "TCP".to_owned());
        }
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        match self.address_type.as_str() {
            "" => errors.push(FieldError::required("addressType", "")),
            type_ if ADDRESS_TYPES.contains(&type_) => {}
            type_ => errors.push(FieldError::not_supported(
                "addressType",
                type_,
                ADDRESS_TYPES,
            )),
        }
        validate_endpoints(self, errors);
        for (index, port) in self.ports.iter().flatten().enumerate() {
            let path = format!("ports[{index}]");
            if let Some(number) = port.port {
                ports::validate_number(number, &format!("{path}.port"), errors);
            }
            let protocol = port.protocol.as_deref().unwrap_or_default();
            ports::validate_protocol(protocol, &format!("{path}.protocol"), errors);
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if self.address_type != old.address_type {
            let rule = "field is immutable";
            errors.push(FieldError::invalid("addressType", &self.address_type, rule));
        }
    }
}

fn validate_endpoints(slice: &EndpointSlice, errors: &mut Vec<FieldError>) {
    let endpoints = slice.endpoints.as_deref().unwrap_or_default();
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many(
            "endpoints",
            endpoints.len(),
            ENDPOINTS_MAX,
        ));
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        match endpoint.addresses.len() {
            0 => errors.push(FieldError::required(
                &path,
                "must contain at least 1 address",
            )),
            count if count > ADDRESSES_MAX => {
                errors.push(FieldError::too_many(&path, count, ADDRESSES_MAX));
            }
            _ => {}
        }
        for (index, address) in endpoint.addresses.iter().enumerate() {
            let right = match (slice.address_type.as_str(), address.parse::<IpAddr>()) {
                ("IPv4", Ok(ip)) => ip.is_ipv4(),
                ("IPv6", Ok(ip)) => ip.is_ipv6(),
                ("IPv4" | "IPv6", Err(_)) => false,
                _ => true,
            };
            if !right {
                let rule = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
                errors.push(FieldError::invalid(
                    format!("{path}[{index}]"),
                    address,
                    rule,
                ));
            }
        }
    }
}

fn unset_or_three(items: &[String]) -> String {
    if items.is_empty() {
        "<unset>".to_owned()
    } else {
        columns::at_most_three(items, ",")
    }
}

fn port_numbers(slice: &Value) -> String {
    let number = |port: &Value| {
        port["port"]
            .as_i64()
            .map_or_else(|| "*".to_owned(), |p| p.to_string())
    };
    let numbers: Vec<String> = list_at(slice, "/ports").iter().map(number).collect();
    unset_or_three(&numbers)
}

fn addresses(slice: &Value) -> String {
    let endpoints = list_at(slice, "/endpoints").iter();
    let all = endpoints.flat_map(|endpoint| list_at(endpoint, "/addresses"));
    let all: Vec<String> = all.filter_map(|a| a.as_str().map(str::to_owned)).collect();
    unset_or_three(&all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::row;
    use super::*;

    #[test]
    fn a_slice_lists_its_ports_and_addresses() {
        let slice = json!({"metadata": {"name": "web-x"}, "addressType": "IPv4",
            "ports": [{"port": 8080}], "endpoints": [{"addresses": ["1.1.1.1"]}, {"addresses": ["2.2.2.2"]},
                {"addresses": ["3.3.3.3"]}, {"addresses": ["4.4.4.4"]}]});
        assert_eq!(
            row(&definition(), &slice),
            [
                "web-x",
                "IPv4",
                "8080",
                "1.1.1.1,2.2.2.2,3.3.3.3 + 1 more...",
                "<unknown>"
            ]
        );
        let empty = json!({"metadata": {"name": "web-x"}, "addressType": "IPv4"});
        assert_eq!(
            row(&definition(), &empty),
            ["web-x", "IPv4", "<unset>", "<unset>", "<unknown>"]
        );
    }
}
