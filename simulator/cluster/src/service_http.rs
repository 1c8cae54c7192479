//! HTTP for the controllers: a small client that finds Services by name.
//!
//! The control plane is outside the pods' network names, so a host is looked up through the API:
//! `NAME` (in the request's namespace), `NAME.NAMESPACE`, and both with `.svc` or
//! `.svc.cluster.local`. A request goes straight to a ready endpoint, and to the cluster address
//! only where there is no slice to read. Any other host is the machine's resolver's business.

use std::net::IpAddr;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Uri;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};
use lab_api::names::SERVICE_NAME;
use lab_context::Context;
use lab_controllers::{BODY_MAX, HttpClient, HttpError, HttpRequest, HttpResponse};
use tokio::net::TcpStream;

/// Port of an `http` URL that names none.
const HTTP_PORT: u16 = 80;

/// An HTTP client that finds Services through the API.
pub(crate) struct ServiceHttp {
    client: Client,
    context: Context,
}

impl ServiceHttp {
    /// A client that asks `client` for Services, and `context` which endpoint to take.
    pub(crate) fn new(client: Client, context: Context) -> Self {
        Self { client, context }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let uri = parse(&request.url)?;
        let failed = |error: &dyn std::error::Error| HttpError::Failed {
            url: request.url.clone(),
            reason: root_cause(error),
        };
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(HTTP_PORT);
        let address = self.resolve(host, port, &request.namespace).await?;
        let stream = TcpStream::connect(&address)
            .await
            .map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        // It ends with the exchange, because the sender is dropped.
        tokio::spawn(connection);
        let response = sender
            .send_request(build(&request, &uri)?)
            .await
            .map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = match Limited::new(body, BODY_MAX).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(HttpError::TooLarge {
                    url: request.url.clone(),
                });
            }
            Err(error) => return Err(failed(&*error)),
        };
        let headers = head.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.to_string(), value)
        });
        Ok(HttpResponse {
            status: head.status.as_u16(),
            headers: headers.collect(),
            body,
        })
    }

    /// `ADDRESS:PORT` to connect to.
    async fn resolve(&self, host: &str, port: u16, namespace: &str) -> Result<String, HttpError> {
        let plain = format!("{host}:{port}");
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<IpAddr>().is_ok() || host == "localhost" {
            return Ok(plain);
        }
        let Some((name, namespace)) = service_of(host, namespace) else {
            return Ok(plain);
        };
        let missing = |reason: String| HttpError::NoSuchHost {
            host: host.to_owned(),
            reason,
        };
        let services = Api::<Service>::namespaced(self.client.clone(), namespace);
        let found = services
            .get_opt(name)
            .await
            .map_err(|error| missing(root_cause(&error)))?;
        let Some(service) = found else {
            // A name of two words may be a machine's on the network.
            let resolves = tokio::net::lookup_host(&plain).await.is_ok();
            return if resolves {
                Ok(plain)
            } else {
                Err(missing(format!(
                    "there is no Service {name:?} in namespace {namespace:?}"
                )))
            };
        };
        let slices = Api::<EndpointSlice>::namespaced(self.client.clone(), namespace)
            .list(&ListParams::default().labels(&format!("{SERVICE_NAME}={name}")))
            .await
            .map_err(|error| missing(root_cause(&error)))?;
        let choice = self.context.random();
        address_of(&service, &slices.items, port, choice).map_err(missing)
    }
}

impl HttpClient for ServiceHttp {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, HttpError>> {
        async move {
            let (url, timeout) = (request.url.clone(), request.timeout);
            match tokio::time::timeout(timeout, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(HttpError::Timeout { url, timeout }),
            }
        }
        .boxed()
    }
}

fn parse(url: &str) -> Result<Uri, HttpError> {
    let invalid = |reason: String| HttpError::Invalid {
        url: url.to_owned(),
        reason,
    };
    let uri: Uri = url
        .parse()
        .map_err(|error: http::uri::InvalidUri| invalid(error.to_string()))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(invalid(
                "https is not supported here: use the Service's http port".to_owned(),
            ));
        }
        Some(_) | None => return Err(invalid("it must begin with http://".to_owned())),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(invalid("it has no host".to_owned()));
    }
    Ok(uri)
}

fn build(request: &HttpRequest, uri: &Uri) -> Result<http::Request<Full<Bytes>>, HttpError> {
    let invalid = |error: http::Error| HttpError::Invalid {
        url: request.url.clone(),
        reason: error.to_string(),
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(path);
    let named = |name: &str| {
        request
            .headers
            .iter()
            .any(|(given, _)| given.eq_ignore_ascii_case(name))
    };
    if !named("host")
        && let Some(authority) = uri.authority()
    {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        builder = builder.header(http::header::HOST, host);
    }
    if !named("user-agent") {
        builder = builder.header(http::header::USER_AGENT, "devops-lab");
    }
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    builder.body(body).map_err(invalid)
}

/// The Service that a host names, if it can be one: name and namespace.
fn service_of<'a>(host: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    let host = host.trim_end_matches('.');
    let short = host
        .strip_suffix(".svc.cluster.local")
        .or_else(|| host.strip_suffix(".svc"));
    let parts: Vec<&str> = short.unwrap_or(host).split('.').collect();
    match parts.as_slice() {
        [name] if short.is_none() => Some((name, namespace)),
        [name, namespace] => Some((name, namespace)),
        _ => None,
    }
}

/// Where a Service's port leads; `choice` in `0.0..1.0` takes one of several endpoints.
fn address_of(
    service: &Service,
    slices: &[EndpointSlice],
    port: u16,
    choice: f64,
) -> Result<String, String> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    if let Some(external) = spec.external_name.filter(|name| !name.is_empty()) {
        return Ok(format!("{external}:{port}"));
    }
    let ports = spec.ports.unwrap_or_default();
    let Some(service_port) = ports.iter().find(|it| it.port == i32::from(port)) else {
        let known: Vec<String> = ports.iter().map(|it| it.port.to_string()).collect();
        return Err(format!(
            "Service {name:?} has no port {port}, only {}",
            known.join(", ")
        ));
    };
    let ready: Vec<String> = slices
        .iter()
        .filter_map(|slice| Some((slice, slice_port(slice, service_port)?)))
        .flat_map(|(slice, port)| {
            let ready = slice.endpoints.iter().flatten().filter(|endpoint| {
                let conditions = endpoint.conditions.as_ref();
                conditions.and_then(|it| it.ready).unwrap_or(true)
            });
            ready.flat_map(move |endpoint| {
                let addresses = endpoint.addresses.iter();
                addresses.map(move |address| format!("{address}:{port}"))
            })
        })
        .collect();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a choice among a few endpoints"
    )]
    let chosen = (choice * ready.len() as f64) as usize;
    if let Some(address) = ready.get(chosen.min(ready.len().saturating_sub(1))) {
        return Ok(address.clone());
    }
    match spec
        .cluster_ip
        .filter(|ip| slices.is_empty() && ip.parse::<IpAddr>().is_ok())
    {
        Some(ip) => Ok(format!("{ip}:{port}")),
        None => Err(format!("Service {name:?} has no ready endpoints")),
    }
}

/// The port of a slice that a Service's port leads to: ports go by their name.
fn slice_port(slice: &EndpointSlice, port: &ServicePort) -> Option<i32> {
    let name = port.name.as_deref().unwrap_or_default();
    slice
        .ports
        .iter()
        .flatten()
        .find(|it| it.name.as_deref().unwrap_or_default() == name)?
        .port
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use lab_apiserver::{ApiServer, ApiServerConfig, Version};
    use lab_store::Store;
    use serde_json::{Value, json};
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn a_host_may_be_a_service() {
        for (host, expected) in [
            ("shop", Some(("shop", "here"))),
            ("shop.prod", Some(("shop", "prod"))),
            ("shop.prod.svc", Some(("shop", "prod"))),
            ("shop.prod.svc.cluster.local", Some(("shop", "prod"))),
            ("shop.prod.svc.cluster.local.", Some(("shop", "prod"))),
            ("www.example.com", None),
            ("svc", Some(("svc", "here"))),
        ] {
            assert_eq!(service_of(host, "here"), expected, "{host}");
        }
    }

    #[test]
    fn only_plain_http_is_spoken() {
        assert!(parse("http://shop:8080/a?b=c").is_ok());
        for url in ["https://shop/", "shop/", "http:///", "ftp://shop/", ""] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    fn service(ports: &Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "shop", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.7", "ports": ports}}))
        .unwrap()
    }

    fn slice(endpoints: &Value) -> EndpointSlice {
        serde_json::from_value(
            json!({"metadata": {"name": "shop-1"}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8000}], "endpoints": endpoints}),
        )
        .unwrap()
    }

    #[test]
    fn requests_go_to_ready_endpoints() {
        let service = service(&json!([{"name": "http", "port": 80}]));
        let slice = slice(&json!([
            {"addresses": ["10.1.0.1"], "conditions": {"ready": false}},
            {"addresses": ["10.1.0.2"], "conditions": {"ready": true}},
            {"addresses": ["10.1.0.3"]},
        ]));
        let slices = [slice];
        let at = |choice| address_of(&service, &slices, 80, choice);
        assert_eq!(at(0.0), Ok("10.1.0.2:8000".to_owned()));
        assert_eq!(at(0.99), Ok("10.1.0.3:8000".to_owned()));
        assert_eq!(
            address_of(&service, &slices, 81, 0.0),
            Err("Service \"shop\" has no port 81, only 80".to_owned())
        );
        assert_eq!(
            address_of(&service, &[], 80, 0.0),
            Ok("10.96.0.7:80".to_owned())
        );
    }

    #[test]
    fn a_service_without_ready_endpoints_is_named() {
        let none = slice(&json!([{"addresses": ["10.1.0.1"], "conditions": {"ready": false}}]));
        assert_eq!(
            address_of(
                &service(&json!([{"name": "http", "port": 80}])),
                &[none],
                80,
                0.0
            ),
            Err("Service \"shop\" has no ready endpoints".to_owned())
        );
    }

    async fn http_with(objects: &[Value]) -> ServiceHttp {
        let context = Context::simulated(1, 1.0);
        let config = ApiServerConfig {
            service_cidr: (std::net::Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: None,
            context: context.clone(),
            stop: CancellationToken::new(),
        };
        let router = ApiServer::new(Store::in_memory(), config).router();
        let client = Client::new(router, "default");
        for object in objects {
            let object: kube::core::DynamicObject = serde_json::from_value(object.clone()).unwrap();
            let gvk =
                kube::core::GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap();
            let resource = kube::core::ApiResource::from_gvk(&gvk);
            let api: Api<kube::core::DynamicObject> = if gvk.kind == "Namespace" {
                Api::all_with(client.clone(), &resource)
            } else {
                Api::namespaced_with(client.clone(), "default", &resource)
            };
            let params = kube::api::PostParams::default();
            api.create(&params, &object).await.unwrap();
        }
        ServiceHttp::new(client, context)
    }

    fn ask(url: String) -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            url,
            headers: vec![("X-Question".to_owned(), "why".to_owned())],
            body: Vec::new(),
            timeout: Duration::from_secs(10),
            namespace: "default".to_owned(),
            insecure: false,
        }
    }

    #[tokio::test]
    async fn a_service_is_reached_by_its_name() {
        let app = Router::new()
            .route(
                "/hello",
                get(async |headers: axum::http::HeaderMap| {
                    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
                    format!("{} {}", header("host"), header("x-question"))
                }),
            )
            .route("/big", get(async || "x".repeat(BODY_MAX + 1)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, app).await });
        let http = http_with(&[
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
                "spec": {"ports": [{"port": 80}]}}),
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {"name": "shop-1", "labels": {"kubernetes.io/service-name": "shop"}},
                "addressType": "IPv4", "ports": [{"port": port}],
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]}),
        ])
        .await;
        let answer = http
            .send(ask("http://shop.default.svc/hello".to_owned()))
            .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, b"shop.default.svc why");
        let answer = http
            .send(ask(format!("http://127.0.0.1:{port}/nothing")))
            .await;
        assert_eq!(answer.unwrap().status, 404);
        let too_large = http.send(ask(format!("http://127.0.0.1:{port}/big"))).await;
        assert!(
            matches!(too_large, Err(HttpError::TooLarge { .. })),
            "{too_large:?}"
        );
        let nobody = http
            .send(ask("http://nobody.default.svc/".to_owned()))
            .await;
        assert_eq!(
            nobody.unwrap_err().to_string(),
            "no such host \"nobody.default.svc\": there is no Service \"nobody\" in namespace \"default\""
        );
    }
}
