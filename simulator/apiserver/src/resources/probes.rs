//! Rules for probes and lifecycle handlers.

use k8s_openapi::api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe};

use super::ports::{validate_number, validate_target};
use crate::validation::FieldError;

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const ONE_HANDLER: &str = "may not specify more than 1 handler type";

/// Checks every probe and handler of the container at `path`.
pub(super) fn validate(container: &Container, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(lifecycle) = &container.lifecycle {
        let handlers = [
            ("postStart", &lifecycle.post_start),
            ("preStop", &lifecycle.pre_stop),
        ];
        for (name, handler) in handlers {
            if let Some(handler) = handler {
                validate_lifecycle(handler, &format!("{path}.lifecycle.{name}"), errors);
            }
        }
    }
    let probes = [
        ("livenessProbe", &container.liveness_probe, true),
        ("readinessProbe", &container.readiness_probe, false),
        ("startupProbe", &container.startup_probe, true),
    ];
    for (name, probe, once) in probes {
        if let Some(probe) = probe {
            validate_probe(probe, once, &format!("{path}.{name}"), errors);
        }
    }
}

/// `once`: a liveness or startup probe succeeds once or not at all.
fn validate_probe(probe: &Probe, once: bool, path: &str, errors: &mut Vec<FieldError>) {
    let handlers = [
        probe.exec.is_some(),
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.grpc.is_some(),
    ];
    validate_handler_count(&handlers, path, errors);
    if let Some(exec) = &probe.exec {
        validate_command(exec.command.as_deref(), path, errors);
    }
    if let Some(get) = &probe.http_get {
        validate_http_get(get, path, errors);
    }
    if let Some(socket) = &probe.tcp_socket {
        validate_target(&socket.port, &format!("{path}.tcpSocket.port"), errors);
    }
    if let Some(grpc) = &probe.grpc {
        validate_number(grpc.port, &format!("{path}.grpc.port"), errors);
    }
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (name, number) in numbers {
        if let Some(number) = number.filter(|&number| number < 0) {
            errors.push(FieldError::invalid(
                format!("{path}.{name}"),
                number,
                NOT_NEGATIVE,
            ));
        }
    }
    if let Some(threshold) = probe.success_threshold.filter(|&t| once && t != 1) {
        let place = format!("{path}.successThreshold");
        errors.push(FieldError::invalid(place, threshold, "must be 1"));
    }
}

fn validate_lifecycle(handler: &LifecycleHandler, path: &str, errors: &mut Vec<FieldError>) {
    let handlers = [
        handler.exec.is_some(),
        handler.http_get.is_some(),
        handler.tcp_socket.is_some(),
        handler.sleep.is_some(),
    ];
    validate_handler_count(&handlers, path, errors);
    if let Some(exec) = &handler.exec {
        validate_command(exec.command.as_deref(), path, errors);
    }
    if let Some(get) = &handler.http_get {
        validate_http_get(get, path, errors);
    }
    if let Some(socket) = &handler.tcp_socket {
        validate_target(&socket.port, &format!("{path}.tcpSocket.port"), errors);
    }
    if let Some(sleep) = handler.sleep.as_ref().filter(|sleep| sleep.seconds < 0) {
        let place = format!("{path}.sleep");
        let rule = "must be greater than or equal to 0 and less than terminationGracePeriodSeconds";
        errors.push(FieldError::invalid(place, sleep.seconds, rule));
    }
}

fn validate_handler_count(given: &[bool], path: &str, errors: &mut Vec<FieldError>) {
    match given.iter().filter(|&&given| given).count() {
        0 => errors.push(FieldError::required(path, "must specify a handler type")),
        1 => {}
        _ => errors.push(FieldError::forbidden(path, ONE_HANDLER)),
    }
}

fn validate_command(command: Option<&[String]>, path: &str, errors: &mut Vec<FieldError>) {
    if command.is_none_or(<[String]>::is_empty) {
        errors.push(FieldError::required(format!("{path}.exec.command"), ""));
    }
}

fn validate_http_get(get: &HTTPGetAction, path: &str, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.httpGet");
    if get.path.as_deref().unwrap_or_default().is_empty() {
        errors.push(FieldError::required(format!("{path}.path"), ""));
    }
    validate_target(&get.port, &format!("{path}.port"), errors);
    let scheme = get.scheme.as_deref().unwrap_or_default();
    if !matches!(scheme, "HTTP" | "HTTPS") {
        let place = format!("{path}.scheme");
        errors.push(FieldError::not_supported(place, scheme, &["HTTP", "HTTPS"]));
    }
}
