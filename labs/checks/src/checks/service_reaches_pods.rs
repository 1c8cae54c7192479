//! K004: a Service leads to the ready pods of a Deployment, on the port they listen on.

use std::collections::BTreeSet;

use futures::try_join;
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use lab_api::names::SERVICE_NAME;
use lab_api::selector::Selector;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{CheckDef, accepts, schema, start};
use crate::context::CheckContext;
use crate::diagnosis::Diagnosis;
use crate::fact::Fact;
use crate::outcome::{Evidence, Outcome};
use crate::pod_trouble::{trouble, waits_for_image};
use crate::read;
use crate::readers::http::Http;
use crate::readers::images::{Registry, survey};
use crate::workload::{Workload, Workloads, container_ports, name_list, port_list};

pub(super) const DEF: CheckDef = CheckDef {
    code: "K004",
    name: "service-reaches-pods",
    help: "Service `service` has at least `endpoints` ready endpoints (1 by default), every one of them a pod \
        of Deployment `deployment`, and sends to a port that the containers declare. With `port`, the \
        Service has that port.",
    schema: schema::<With>,
    accepts: accepts::<With>,
    run: |context, with| start(DEF.name, run, context, with),
};

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    service: String,
    deployment: String,
    #[serde(default = "one")]
    endpoints: usize,
    port: Option<i32>,
}

fn one() -> usize {
    1
}

/// What was read.
struct Seen {
    workloads: Workloads,
    services: Vec<Service>,
    slices: Vec<EndpointSlice>,
    registry: Registry,
}

async fn run(context: CheckContext, with: With) -> Result<Outcome, Diagnosis> {
    let (client, namespace) = (&context.client, context.namespace.as_str());
    let (workloads, services, slices) = try_join!(
        Workloads::read(&context),
        read::everywhere(client, namespace),
        read::here(client, namespace),
    )?;
    let pods: Vec<_> = workloads.pods.iter().collect();
    let registry = if waits_for_image(&pods) {
        survey(&Http::new(), &context.addresses.registry).await
    } else {
        Registry::default()
    };
    Ok(judge(
        &with,
        namespace,
        &Seen {
            workloads,
            services,
            slices,
            registry,
        },
    ))
}

fn judge(with: &With, namespace: &str, seen: &Seen) -> Outcome {
    let expected = Fact::EndpointsWanted {
        service: with.service.clone(),
        deployment: with.deployment.clone(),
        endpoints: with.endpoints.to_string(),
    };
    let missing = |kind: &str, name: &str, diagnosis| {
        let observed = Fact::Nothing {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        Outcome::NotYet {
            evidence: Evidence {
                expected: expected.clone(),
                observed,
                since: None,
            },
            diagnosis,
        }
    };
    let service = match read::named(&seen.services, &with.service, namespace) {
        Ok(service) => service,
        Err(diagnosis) => return missing("Service", &with.service, diagnosis),
    };
    let workload = match seen.workloads.of(&with.deployment, namespace) {
        Ok(workload) => workload,
        Err(diagnosis) => return missing("Deployment", &with.deployment, diagnosis),
    };
    let reached = Reached::of(service, &seen.slices, &workload);
    let observed = Fact::Endpoints {
        service: with.service.clone(),
        ready: reached.own.len().to_string(),
        others: reached.others.len().to_string(),
    };
    let evidence = Evidence {
        expected: expected.clone(),
        observed,
        since: None,
    };
    Outcome::of(evidence, find(with, service, &workload, &reached, seen))
}

/// Who is behind a Service.
struct Reached {
    /// Ready pods of the workload, on a port that the Service sends to.
    own: BTreeSet<String>,
    /// Everybody else: pods of others, and addresses without a pod.
    others: BTreeSet<String>,
}

impl Reached {
    fn of(service: &Service, slices: &[EndpointSlice], workload: &Workload<'_>) -> Self {
        let name = service.name_any();
        let pods = workload.all_pods();
        let (mut own, mut others) = (BTreeSet::new(), BTreeSet::new());
        for slice in slices
            .iter()
            .filter(|slice| slice.labels().get(SERVICE_NAME) == Some(&name))
        {
            // A slice without ports leads nowhere.
            let leads = slice.ports.iter().flatten().any(|port| port.port.is_some());
            for endpoint in slice
                .endpoints
                .iter()
                .flatten()
                .filter(|endpoint| leads && is_ready(endpoint))
            {
                match pods.iter().find(|pod| is_endpoint_of(endpoint, pod)) {
                    Some(pod) => own.insert(pod.name_any()),
                    None => others.insert(name_of(endpoint)),
                };
            }
        }
        Self { own, others }
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    // Unknown counts as ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#ready
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true)
}

fn is_endpoint_of(endpoint: &Endpoint, pod: &Pod) -> bool {
    let target = endpoint.target_ref.as_ref();
    let named = target
        .is_some_and(|target| target.name == pod.metadata.name && target.uid == pod.metadata.uid);
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref());
    named && ip.is_some_and(|ip| endpoint.addresses.contains(ip))
}

fn name_of(endpoint: &Endpoint) -> String {
    let target = endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.name.clone());
    target.unwrap_or_else(|| endpoint.addresses.join(","))
}

fn find(
    with: &With,
    service: &Service,
    workload: &Workload<'_>,
    reached: &Reached,
    seen: &Seen,
) -> Result<(), Diagnosis> {
    selector(service, workload, &seen.workloads.pods)?;
    ports(with, service, workload)?;
    if let Some(pods) = reached
        .others
        .iter()
        .next()
        .map(|_| reached.others.iter().cloned().collect::<Vec<_>>())
    {
        return Err(Diagnosis::SelectorMatchesOthers {
            service: with.service.clone(),
            selector: selector_text(service),
            pods: pods.join(", "),
        });
    }
    if reached.own.len() >= with.endpoints {
        return Ok(());
    }
    Err(
        trouble(&workload.pods(), workload.events(), &seen.registry).unwrap_or_else(|| {
            Diagnosis::TooFewEndpoints {
                service: with.service.clone(),
                expected: with.endpoints.to_string(),
                found: reached.own.len().to_string(),
            }
        }),
    )
}

fn selector_text(service: &Service) -> String {
    let selector = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.clone())
        .unwrap_or_default();
    selector
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// Whether the selector leads to the workload's pods, and only to them.
fn selector(service: &Service, workload: &Workload<'_>, pods: &[Pod]) -> Result<(), Diagnosis> {
    let labels = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.clone())
        .unwrap_or_default();
    let name = service.name_any();
    if labels.is_empty() {
        return Err(Diagnosis::SelectorEmpty { service: name });
    }
    let selector = Selector::from_map(&labels);
    let own: BTreeSet<_> = workload
        .all_pods()
        .iter()
        .map(|pod| pod.name_any())
        .collect();
    let matched: Vec<_> = pods
        .iter()
        .filter(|pod| selector.matches(pod.labels()))
        .collect();
    let others: Vec<_> = matched
        .iter()
        .copied()
        .filter(|pod| !own.contains(&pod.name_any()))
        .collect();
    // With no pods of its own there is nothing to match, and the pods' absence is the cause.
    if own.is_empty() || matched.len() > others.len() {
        return Ok(());
    }
    let selector = selector_text(service);
    if !others.is_empty() {
        return Err(Diagnosis::SelectorMatchesOthers {
            service: name,
            selector,
            pods: name_list(others),
        });
    }
    let labels = workload
        .all_pods()
        .first()
        .map(|pod| pod.labels().clone())
        .unwrap_or_default();
    let labels = labels
        .iter()
        .filter(|(key, _)| *key != lab_api::names::POD_TEMPLATE_HASH);
    let labels = labels
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",");
    Err(Diagnosis::SelectorMatchesNothing {
        service: name,
        selector,
        labels,
    })
}

/// Whether the Service has the port and sends to one that the containers declare.
fn ports(with: &With, service: &Service, workload: &Workload<'_>) -> Result<(), Diagnosis> {
    let ports = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.clone())
        .unwrap_or_default();
    let name = service.name_any();
    let port = match with.port {
        Some(port) => ports.iter().find(|candidate| candidate.port == port),
        None => ports.first(),
    };
    let Some(port) = port else {
        return Err(Diagnosis::ServicePortMissing {
            service: name,
            port: with.port.map(|port| port.to_string()).unwrap_or_default(),
            ports: service_port_list(&ports),
        });
    };
    let Some(spec) = workload.pod_spec() else {
        return Ok(());
    };
    let declared: Vec<_> = container_ports(spec).collect();
    let target = port
        .target_port
        .clone()
        .unwrap_or(IntOrString::Int(port.port));
    let (known, target) = match target {
        // A number needs no declaration, so without any there is nothing to compare.
        IntOrString::Int(number) => {
            let known =
                declared.is_empty() || declared.iter().any(|port| port.container_port == number);
            (known, number.to_string())
        }
        IntOrString::String(text) => (
            declared
                .iter()
                .any(|port| port.name.as_ref() == Some(&text)),
            text,
        ),
    };
    if known {
        return Ok(());
    }
    let ports = port_list(declared.into_iter());
    Err(Diagnosis::TargetPortWrong {
        service: name,
        target,
        ports,
    })
}

/// Ports of a Service as a list for people.
pub(super) fn service_port_list(ports: &[ServicePort]) -> String {
    ports
        .iter()
        .map(|port| port.port.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, check, object};
    use serde_json::json;

    fn outcome(world: &World) -> Outcome {
        let with = With {
            service: "hello".into(),
            deployment: "hello".into(),
            endpoints: 3,
            port: Some(80),
        };
        let seen = Seen {
            workloads: world.workloads(),
            services: vec![object(world.service.clone())],
            slices: world.slices.iter().cloned().map(object).collect(),
            registry: Registry::default(),
        };
        judge(&with, "default", &seen)
    }

    #[track_caller]
    fn case(expected: Option<&str>, change: impl FnOnce(&mut World)) {
        check(outcome, expected, change);
    }

    #[test]
    fn a_service_with_three_ready_endpoints_of_the_deployment_holds() {
        case(None, |_| {});
        case(None, |world| {
            world.service["spec"]["ports"][0]["targetPort"] = json!(8080)
        });
        case(None, |world| {
            // Ports need not be declared; a number still leads there.
            world.template("ports", &json!([]));
            world.service["spec"]["ports"][0]["targetPort"] = json!(8080);
        });
    }

    #[test]
    fn a_service_that_is_absent_or_elsewhere_is_named() {
        case(Some("named-otherwise"), |world| {
            world.service["metadata"]["name"] = json!("helo")
        });
        case(Some("in-another-namespace"), |world| {
            world.service["metadata"]["namespace"] = json!("shop")
        });
        case(Some("missing"), |world| {
            world.deployment["metadata"]["name"] = json!(null)
        });
    }

    #[test]
    fn a_selector_that_leads_elsewhere_does_not_pass() {
        case(Some("selector-empty"), |world| {
            world.service["spec"]["selector"] = json!({})
        });
        case(Some("selector-matches-nothing"), |world| {
            world.service["spec"]["selector"] = json!({"app": "helo"});
            world.slices[0]["endpoints"] = json!([]);
        });
        case(Some("selector-matches-others"), |world| {
            // The counts are right, but the endpoints are pods of somebody else.
            let mut stranger = world.pods[0].clone();
            stranger["metadata"]["name"] = json!("stranger");
            stranger["metadata"]["uid"] = json!("stranger");
            stranger["metadata"]["labels"] = json!({"app": "other"});
            stranger["metadata"]["ownerReferences"] = json!([]);
            world.pods.push(stranger);
            world.service["spec"]["selector"] = json!({"app": "other"});
        });
        case(Some("selector-matches-others"), |world| {
            let endpoints = world.slices[0]["endpoints"].as_array_mut().unwrap();
            endpoints.push(json!({"addresses": ["10.0.0.9"], "targetRef": {"kind": "Pod", "name": "x", "uid": "x"}}));
        });
    }

    #[test]
    fn wrong_ports_do_not_pass() {
        case(Some("target-port-wrong"), |world| {
            world.service["spec"]["ports"][0]["targetPort"] = json!(80)
        });
        case(Some("target-port-wrong"), |world| {
            world.service["spec"]["ports"][0]["targetPort"] = json!("web")
        });
        case(Some("service-port-missing"), |world| {
            world.service["spec"]["ports"][0]["port"] = json!(81)
        });
    }

    #[test]
    fn endpoints_that_are_not_ready_or_not_there_do_not_pass() {
        case(Some("too-few-endpoints"), |world| {
            world.slices[0]["endpoints"][0]["conditions"]["ready"] = json!(false);
        });
        case(Some("too-few-endpoints"), |world| {
            world.slices[0]["ports"] = json!([])
        });
        case(Some("too-few-endpoints"), |world| {
            // A slice of another Service does not help.
            world.slices[0]["metadata"]["labels"]["kubernetes.io/service-name"] = json!("other");
        });
        case(Some("selector-matches-others"), |world| {
            // The name of a pod that was replaced: same name, another uid and address.
            world.slices[0]["endpoints"][2]["addresses"] = json!(["10.9.9.9"]);
        });
        case(Some("pods-starting"), |world| {
            world.unready(0);
            world.slices[0]["endpoints"][0]["conditions"]["ready"] = json!(false);
        });
    }
}
