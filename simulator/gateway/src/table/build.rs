//! From decisions to a table. What lives longer than one table (endpoints with their
//! connections, counters, the place in a weighted sequence) is handed on by a [`Registry`].

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kube::Resource;
use lab_context::Context;

use super::{
    Backend, Backends, Choice, Entry, Faults, Filters, Hostname, Listener, Mirror, Rule, Spread,
    Table, Target, TlsPort,
};
use crate::metrics::{Labels, Metrics, Series};
use crate::plan::{
    BackendPlan, EndpointKey, MirrorPlan, Plan, RulePlan, ServiceKey, Slices, addresses,
};
use crate::plane::{Endpoint, EndpointSet};
use crate::world::{World, key};

/// What one table hands on to the next. Whatever the next table does not use is forgotten,
/// so it stays as small as the configuration.
#[derive(Debug)]
pub(crate) struct Registry {
    context: Context,
    metrics: Arc<Metrics>,
    endpoints: HashMap<EndpointKey, Arc<Endpoint>>,
    spreads: HashMap<(String, usize), Arc<Spread>>,
    tls: HashMap<u16, TlsPort>,
}

impl Registry {
    /// An empty registry whose series are published in `metrics`.
    pub(crate) fn new(context: Context, metrics: Arc<Metrics>) -> Self {
        Self {
            context,
            metrics,
            endpoints: HashMap::new(),
            spreads: HashMap::new(),
            tls: HashMap::new(),
        }
    }

    /// The table for these decisions.
    pub(crate) fn build(&mut self, plan: &Plan, world: &World) -> Table {
        let mut build = Build {
            faults: faults(world, &self.context),
            before: self,
            slices: Slices::of(world),
            endpoints: HashMap::new(),
            spreads: HashMap::new(),
            series: HashMap::new(),
            targets: HashMap::new(),
        };
        let ports = build.ports(plan);
        let services = build.services(world);
        let Build {
            endpoints,
            spreads,
            series,
            targets,
            ..
        } = build;
        self.endpoints = endpoints;
        self.spreads = spreads;
        self.metrics.publish(series);
        self.tls = self.tls(plan);
        let targets = targets
            .into_values()
            .map(|target| ((target.name.clone(), target.http2), target))
            .collect();
        Table {
            ports,
            tls: self.tls.clone(),
            services,
            targets,
        }
    }

    /// The certificates of each HTTPS port. A port whose certificates did not change keeps
    /// what it has, and with it the sessions that clients may resume.
    fn tls(&self, plan: &Plan) -> HashMap<u16, TlsPort> {
        let mut names: HashMap<u16, Vec<_>> = HashMap::new();
        let listeners = plan.gateways.iter().flat_map(|gateway| &gateway.listeners);
        for listener in listeners.filter(|listener| listener.is_open()) {
            if let Some(tls) = &listener.tls {
                let here = names.entry(listener.port).or_default();
                if !tls.certificates.is_empty() {
                    here.push((listener.hostname.clone(), tls.certificates.clone()));
                }
                here.extend(tls.hosts.iter().cloned());
            }
        }
        let keep = |(port, names)| {
            let new = TlsPort::new(names);
            let old = self.tls.get(&port).filter(|old| old.is_same(&new));
            (port, old.cloned().unwrap_or(new))
        };
        names.into_iter().map(keep).collect()
    }
}

struct Build<'a> {
    /// What is to go wrong on purpose, by route.
    faults: HashMap<String, Arc<Faults>>,
    before: &'a Registry,
    slices: Slices<'a>,
    endpoints: HashMap<EndpointKey, Arc<Endpoint>>,
    spreads: HashMap<(String, usize), Arc<Spread>>,
    series: HashMap<Labels, Arc<Series>>,
    targets: HashMap<ServiceKey, Arc<Target>>,
}

impl Build<'_> {
    fn ports(&mut self, plan: &Plan) -> HashMap<u16, Vec<Listener>> {
        let attached = self.attached(plan);
        let mut ports: HashMap<u16, Vec<Listener>> = HashMap::new();
        for (at, gateway) in plan.gateways.iter().enumerate() {
            for (position, listener) in gateway.listeners.iter().enumerate() {
                if !listener.is_open() {
                    continue;
                }
                let routes = attached
                    .get(&(at, position))
                    .map(Vec::as_slice)
                    .unwrap_or_default();
                ports.entry(listener.port).or_default().push(Listener {
                    name: format!("{}/{}", gateway.key, listener.name),
                    hostname: listener.hostname.clone(),
                    hosts: hosts(routes),
                });
            }
        }
        for listeners in ports.values_mut() {
            listeners.sort_by_key(|listener| Reverse(listener.hostname.precedence()));
        }
        ports
    }

    /// The rules under each listener, by position of Gateway and listener.
    fn attached(&mut self, plan: &Plan) -> HashMap<(usize, usize), Vec<Attached>> {
        let mut attached: HashMap<(usize, usize), Vec<Attached>> = HashMap::new();
        for route in plan.carried() {
            let rules = self.rules(route.name, route.rules);
            for at in route.attachments {
                let here = attached.entry((at.gateway, at.listener)).or_default();
                here.push(Attached {
                    hostnames: at.hostnames.clone(),
                    rules: rules.clone(),
                });
            }
        }
        attached
    }

    fn rules(&mut self, route: &str, plans: &[RulePlan]) -> Vec<CompiledRule> {
        let compile = |plan: &RulePlan| CompiledRule {
            matchers: plan.matchers.clone(),
            rule: Arc::new(Rule {
                route: route.to_owned(),
                index: plan.index,
                filters: plan.filters.clone(),
                timeouts: plan.timeouts,
                backends: self.backends(route, plan.index, &plan.backends),
                mirrors: self.mirrors(route, plan.index, &plan.mirrors),
                series: self.series(Labels::of_rule(route, plan.index)),
                faults: self.faults.get(route).cloned(),
            }),
        };
        plans.iter().map(compile).collect()
    }

    fn mirrors(&mut self, route: &str, index: usize, plans: &[MirrorPlan]) -> Vec<Mirror> {
        let mirror = |(number, plan): (usize, &MirrorPlan)| Mirror {
            backend: self.backend(&format!("mirror/{route}"), index, &plan.backend),
            share: plan.share,
            spread: self.spread(&format!("mirror/{number}/{route}"), index),
        };
        plans.iter().enumerate().map(mirror).collect()
    }

    fn backend(&mut self, route: &str, index: usize, plan: &BackendPlan) -> Arc<Backend> {
        Arc::new(Backend {
            name: plan.name.clone(),
            filters: Filters::clone(&plan.filters),
            target: match &plan.service {
                Ok(service) => Ok(self.target(service)),
                Err(refusal) => Err(refusal.clone()),
            },
            series: self.series(Labels::of_backend(route, index, &plan.name)),
        })
    }

    fn backends(&mut self, route: &str, index: usize, plans: &[BackendPlan]) -> Backends {
        let mut total = 0;
        let mut choices = Vec::with_capacity(plans.len());
        for plan in plans.iter().filter(|plan| plan.weight > 0) {
            total += u64::from(plan.weight);
            choices.push(Choice {
                up_to: total,
                backend: self.backend(route, index, plan),
            });
        }
        Backends {
            choices,
            total,
            spread: self.spread(route, index),
        }
    }

    fn spread(&mut self, route: &str, index: usize) -> Arc<Spread> {
        let key = (route.to_owned(), index);
        let before = self.before;
        let kept = || before.spreads.get(&key).cloned();
        let spread =
            kept().unwrap_or_else(|| Arc::new(Spread::starting_at(before.context.random())));
        self.spreads.insert(key, Arc::clone(&spread));
        spread
    }

    fn series(&mut self, labels: Labels) -> Arc<Series> {
        let metrics = &self.before.metrics;
        Arc::clone(
            self.series
                .entry(labels)
                .or_insert_with_key(|labels| metrics.series(labels)),
        )
    }

    fn target(&mut self, service: &ServiceKey) -> Arc<Target> {
        if let Some(target) = self.targets.get(service) {
            return Arc::clone(target);
        }
        let mut members = self.slices.endpoints(service);
        members.sort_by_key(|member| across_nodes(member.address));
        let members = members.into_iter().map(|key| self.endpoint(key)).collect();
        let target = Arc::new(Target {
            name: format!("{}:{}", service.service, service.port),
            http2: service.http2,
            sticky: service.sticky,
            endpoints: EndpointSet::new(members, self.start()),
        });
        self.targets.insert(service.clone(), Arc::clone(&target));
        target
    }

    /// Where a set of endpoints begins its turns.
    fn start(&self) -> usize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "any number below this will do"
        )]
        let start = (self.before.context.random() * 1e6) as usize;
        start
    }

    fn endpoint(&mut self, key: EndpointKey) -> Arc<Endpoint> {
        let before = &self.before.endpoints;
        let make = |key: &EndpointKey| {
            before
                .get(key)
                .cloned()
                .unwrap_or_else(|| Arc::new(Endpoint::new(key.address, key.pod.clone())))
        };
        Arc::clone(self.endpoints.entry(key).or_insert_with_key(make))
    }

    /// Every Service under its own address; also under the ports that stand in there for one
    /// below 1024, when that cannot be bound.
    fn services(&mut self, world: &World) -> HashMap<SocketAddr, Arc<Target>> {
        let mut services = HashMap::new();
        for (at, _) in addresses(world) {
            let target = self.target(&at.key);
            services.insert(at.address, Arc::clone(&target));
            for detour in at.detours() {
                services
                    .entry(detour)
                    .or_insert_with(|| Arc::clone(&target));
            }
        }
        services
    }
}

/// The faults that routes of every kind ask for in their annotations, under the names that their
/// rules have in the plan.
fn faults(world: &World, context: &Context) -> HashMap<String, Arc<Faults>> {
    fn of<K: Resource>(
        route: &Arc<K>,
        prefix: &str,
        context: &Context,
    ) -> Option<(String, Arc<Faults>)> {
        let faults = Faults::of(route.meta().annotations.as_ref(), context)?;
        Some((format!("{prefix}{}", key(&**route)), Arc::new(faults)))
    }
    let http = world.routes.iter().filter_map(|it| of(it, "", context));
    let grpc = world.grpc_routes.iter();
    let grpc = grpc.filter_map(|it| of(it, "GRPCRoute/", context));
    let ingresses = world.ingresses.iter();
    let ingresses = ingresses.filter_map(|it| of(it, "Ingress/", context));
    http.chain(grpc).chain(ingresses).collect()
}

/// An order by the last part of addresses first, which alternates between nodes. Pods of one
/// node have consecutive addresses; when it dies, the next in turn should be somewhere else.
fn across_nodes(address: SocketAddr) -> (u128, u16) {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u128::from(ip.to_bits().swap_bytes()),
        IpAddr::V6(ip) => ip.to_bits().swap_bytes(),
    };
    (ip, address.port())
}

#[derive(Clone)]
struct CompiledRule {
    matchers: Vec<Arc<super::Matcher>>,
    rule: Arc<Rule>,
}

struct Attached {
    hostnames: Vec<Hostname>,
    rules: Vec<CompiledRule>,
}

/// The entries of each host in the order of precedence. Routes come oldest first and keep that
/// order among equals, because the sort is stable.
fn hosts(routes: &[Attached]) -> Vec<(Hostname, Vec<Entry>)> {
    let mut hosts: HashMap<&Hostname, Vec<Entry>> = HashMap::new();
    for route in routes {
        for hostname in &route.hostnames {
            let entries = hosts.entry(hostname).or_default();
            for compiled in &route.rules {
                entries.extend(compiled.matchers.iter().map(|matcher| Entry {
                    matcher: Arc::clone(matcher),
                    rule: Arc::clone(&compiled.rule),
                }));
            }
        }
    }
    let mut hosts: Vec<_> = hosts
        .into_iter()
        .map(|(host, entries)| (host.clone(), entries))
        .collect();
    hosts.sort_by_key(|(hostname, _)| Reverse(hostname.precedence()));
    for (_, entries) in &mut hosts {
        entries.sort_by_key(|entry| entry.matcher.precedence());
    }
    hosts
}
