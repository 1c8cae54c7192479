//! GatewayClass: a family of Gateways that one controller serves.

use lab_api::gateway::{GROUP, GatewayClass, GatewayClassStatus};
use serde_json::Value;

use super::columns::{self, cell, condition, str_at, text, wide};
use super::typed::{Kind, define, words};
use super::{PrepareContext, ResourceDef, Scope, Subresource, custom};
use crate::validation::FieldError;

/// The definition of GatewayClass.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        short_names: words(&["gc"]),
        categories: words(&["gateway-api"]),
        subresources: vec![Subresource::Status],
        columns: vec![
            columns::name(),
            text("Controller", "Who serves the class.", |o| {
                str_at(o, "/spec/controllerName").to_owned()
            }),
            cell(
                "Accepted",
                "string",
                "Whether somebody serves it.",
                |o, _| condition(o, "Accepted").map_or(Value::Null, |c| c["status"].clone()),
            ),
            custom::age(),
            wide(cell("Description", "string", "For people.", |o, _| {
                o["spec"]["description"].clone()
            })),
        ],
        ..define::<GatewayClass>(GROUP, "GatewayClass", "gatewayclasses")
    }
}

impl Kind for GatewayClass {
    const SCOPE: Scope = Scope::Cluster;
    const OMITS_EMPTY: bool = false;

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        self.status = Some(GatewayClassStatus {
            conditions: vec![custom::waiting("Accepted")],
            ..GatewayClassStatus::default()
        });
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let name = self.spec.controller_name.as_str();
        let path = "spec.controllerName";
        custom::validate_not_empty(name, path, errors);
        let shaped = name.split_once('/').is_some_and(|(domain, path)| {
            lab_api::names::is_dns_subdomain(domain) && !path.is_empty()
        });
        let pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$";
        custom::validate_pattern(name, shaped, pattern, path, errors);
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        if self.spec.controller_name != old.spec.controller_name {
            let name = &self.spec.controller_name;
            errors.push(FieldError::invalid(
                "spec.controllerName",
                name,
                "Value is immutable",
            ));
        }
    }
}
