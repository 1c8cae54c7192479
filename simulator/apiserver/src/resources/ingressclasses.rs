//! IngressClass: which controller serves an Ingress.
//! <https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class>

use k8s_openapi::api::networking::v1::IngressClass;

use super::columns::{self, str_at, text};
use super::ingresses::parameters;
use super::typed::{Kind, define};
use super::{PrepareContext, ResourceDef, Scope, generations};
use crate::validation::FieldError;

/// The definition of IngressClass.
pub(super) fn definition() -> ResourceDef {
    ResourceDef {
        columns: vec![
            columns::name(),
            text("Controller", "Who serves the class.", |o| {
                str_at(o, "/spec/controller").to_owned()
            }),
            text("Parameters", "Its configuration.", parameters),
            columns::age(),
        ],
        ..define::<IngressClass>("networking.k8s.io", "IngressClass", "ingressclasses")
    }
}

/// Longest name of a controller, in bytes.
const CONTROLLER_MAX: usize = 250;

impl Kind for IngressClass {
    const SCOPE: Scope = Scope::Cluster;

    fn set_defaults(&mut self) {
        let parameters = self.spec.as_mut().and_then(|spec| spec.parameters.as_mut());
        if let Some(parameters) = parameters {
            parameters.scope.get_or_insert_with(|| "Cluster".to_owned());
        }
    }

    fn prepare_for_create(&mut self, _context: &PrepareContext<'_>) -> Result<(), FieldError> {
        generations::begin(&mut self.metadata);
        Ok(())
    }

    fn prepare_for_update(
        &mut self,
        old: &Self,
        _context: &PrepareContext<'_>,
    ) -> Result<(), FieldError> {
        let changed = self.spec != old.spec;
        generations::count(&mut self.metadata, &old.metadata, changed);
        Ok(())
    }

    fn validate(&self, errors: &mut Vec<FieldError>) {
        let controller = self
            .spec
            .as_ref()
            .and_then(|spec| spec.controller.as_deref());
        let controller = controller.unwrap_or_default();
        let path = "spec.controller";
        if controller.len() > CONTROLLER_MAX {
            errors.push(FieldError::too_long(path, CONTROLLER_MAX));
        }
        let shaped = controller.split_once('/').is_some_and(|(domain, name)| {
            lab_api::names::is_dns_subdomain(domain) && !name.is_empty()
        });
        if controller.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !shaped {
            let rule = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path, controller, rule));
        }
    }

    fn validate_update(&self, old: &Self, errors: &mut Vec<FieldError>) {
        let controller =
            |class: &Self| class.spec.as_ref().and_then(|spec| spec.controller.clone());
        if controller(self) != controller(old) {
            let now = controller(self).unwrap_or_default();
            errors.push(FieldError::invalid(
                "spec.controller",
                now,
                "field is immutable",
            ));
        }
    }
}
