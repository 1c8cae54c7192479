//! What the cluster adds to objects, or refuses, beyond the rules of their kind.
//! <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/>

mod default_ingress_class;
mod default_tolerations;
mod namespace_label;
mod namespace_lifecycle;
mod service_account;

use serde_json::Value;

use crate::error::ApiError;
use crate::resources::ResourceDef;
use crate::server::Server;

/// What is about to happen.
pub(crate) struct Admission<'a> {
    /// For reading other objects.
    pub(crate) server: &'a Server,
    /// Kind of the object.
    pub(crate) definition: &'a ResourceDef,
    /// Namespace of the object.
    pub(crate) namespace: Option<&'a str>,
    /// What is done to it.
    pub(crate) operation: Operation,
}

/// What is done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It goes.
    Delete,
}

/// One step; it may change the object, except on deletion, where changes are lost.
struct Step {
    /// Upstream's name of the admission plugin.
    name: &'static str,
    admit: fn(&Admission<'_>, &mut Value) -> Result<(), ApiError>,
}

/// All steps. The namespace comes first: where it is missing, that is the answer, whatever
/// else is wrong. The others are independent of each other.
const ALL: &[Step] = &[
    Step {
        name: "NamespaceLifecycle",
        admit: namespace_lifecycle::admit,
    },
    Step {
        name: "NamespaceDefaultLabelName",
        admit: namespace_label::admit,
    },
    Step {
        name: "ServiceAccount",
        admit: service_account::admit,
    },
    Step {
        name: "DefaultIngressClass",
        admit: default_ingress_class::admit,
    },
    Step {
        name: "DefaultTolerationSeconds",
        admit: default_tolerations::admit,
    },
];

/// Takes an object through all steps.
pub(crate) fn admit(admission: &Admission<'_>, object: &mut Value) -> Result<(), ApiError> {
    for step in ALL {
        (step.admit)(admission, object).inspect_err(|error| {
            tracing::debug!(plugin = step.name, %error, "admission refused");
        })?;
    }
    Ok(())
}
