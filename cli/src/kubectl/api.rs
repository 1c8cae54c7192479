//! The connection: whose cluster, which namespace, and requests as JSON.

use futures::AsyncBufRead;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use lab_cluster::lifecycle;
use lab_cluster::record::Home;
use serde_json::Value;
use url::form_urlencoded;

use crate::output::note;

use super::args::Args;
use super::error::{Error, Result, said};

const JSON: &str = "application/json";
/// Rows and columns, made by the server.
pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// A cluster's API and the namespace that commands are about.
pub(super) struct Api {
    client: Client,
    server: String,
    /// The namespace of `-n`, of the context, or `default`.
    pub(super) namespace: String,
    /// True where `-n` was said.
    pub(super) namespace_said: bool,
}

/// The kubeconfig that the flags, the environment and the home directory lead to.
pub(super) fn kubeconfig(args: &Args) -> Result<Kubeconfig> {
    let config = match args.value("kubeconfig") {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    config.map_err(|error| said(with_causes(&error)))
}

impl Api {
    /// Connects as kubectl would. Where no kubeconfig names a context, it is the cluster of
    /// `devops-lab` itself: this program knows how to reach that one without a file.
    pub(super) async fn open(args: &Args) -> Result<Self> {
        let said_namespace = args.value("namespace").map(str::to_owned);
        let (client, server, default) = connect(args).await?;
        Ok(Self {
            client,
            server,
            namespace_said: said_namespace.is_some(),
            namespace: said_namespace.unwrap_or(default),
        })
    }

    async fn send(&self, request: Request<Body>) -> Result<http::Response<Body>> {
        let response = self.client.send(request).await;
        let response = response.map_err(|error| self.failed(error))?;
        for warning in response.headers().get_all("warning") {
            if let Some(text) = warning.to_str().ok().and_then(warning_text) {
                note(format_args!("Warning: {text}"));
            }
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| self.failed(error))?.to_bytes();
        Err(Error::from_body(code, &body))
    }

    fn failed(&self, error: kube::Error) -> Error {
        match Error::from(error) {
            Error::Plain(text) if text == "refused" => Error::Plain(format!(
                "The connection to the server {} was refused - did you specify the right host or port?",
                self.server
            )),
            other => other,
        }
    }

    async fn text(&self, request: Request<Body>) -> Result<String> {
        let response = self.send(request).await?;
        let body = response.into_body().collect().await;
        let body = body.map_err(|error| self.failed(error))?.to_bytes();
        String::from_utf8(body.to_vec()).map_err(|_| said("the server's answer is not text"))
    }

    async fn json(&self, request: Request<Body>) -> Result<Value> {
        let text = self.text(request).await?;
        serde_json::from_str(&text)
            .map_err(|error| said(format!("the server's answer is not JSON: {error}")))
    }

    /// GET in a representation.
    pub(super) async fn get_as(&self, path: &str, query: &Query, accept: &str) -> Result<Value> {
        self.json(request(Method::GET, path, query, accept, None)?)
            .await
    }

    /// GET.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.get_as(path, &Query::default(), JSON).await
    }

    /// GET with a query.
    pub(super) async fn list(&self, path: &str, query: &Query) -> Result<Value> {
        self.get_as(path, query, JSON).await
    }

    /// GET where nothing there is an answer too.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// GET of plain text.
    pub(super) async fn get_text(&self, path: &str, query: &Query) -> Result<String> {
        self.text(request(Method::GET, path, query, "*/*", None)?)
            .await
    }

    /// GET of something that goes on.
    pub(super) async fn stream(
        &self,
        path: &str,
        query: &Query,
        accept: &str,
    ) -> Result<impl AsyncBufRead + Unpin + use<>> {
        use futures::TryStreamExt;
        let response = self
            .send(request(Method::GET, path, query, accept, None)?)
            .await?;
        let body = response.into_body().into_data_stream();
        Ok(Box::pin(
            body.map_err(std::io::Error::other).into_async_read(),
        ))
    }

    /// POST.
    pub(super) async fn post(&self, path: &str, query: &Query, body: &Value) -> Result<Value> {
        let body = Some((JSON, body.to_string()));
        self.json(request(Method::POST, path, query, JSON, body)?)
            .await
    }

    /// PATCH of a media type.
    pub(super) async fn patch(
        &self,
        path: &str,
        query: &Query,
        media_type: &'static str,
        body: &Value,
    ) -> Result<Value> {
        let body = Some((media_type, body.to_string()));
        self.json(request(Method::PATCH, path, query, JSON, body)?)
            .await
    }

    /// DELETE.
    pub(super) async fn delete(&self, path: &str, body: &Value) -> Result<Value> {
        let body = Some((JSON, body.to_string()));
        self.json(request(
            Method::DELETE,
            path,
            &Query::default(),
            JSON,
            body,
        )?)
        .await
    }
}

/// Media types of patches.
pub(super) const MERGE: &str = "application/merge-patch+json";
/// A merge patch that knows keyed lists.
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// RFC 6902.
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
/// Server-side apply.
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// With one more parameter.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// With one more parameter where there is a value.
    pub(super) fn maybe(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Who writes, as the server keeps it.
    pub(super) fn manager(name: &str) -> Self {
        Self::default().with("fieldManager", name)
    }
}

fn request(
    method: Method,
    path: &str,
    query: &Query,
    accept: &str,
    body: Option<(&'static str, String)>,
) -> Result<Request<Body>> {
    let uri = if query.0.is_empty() {
        path.to_owned()
    } else {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(&query.0);
        format!("{path}?{}", encoded.finish())
    };
    let builder = Request::builder()
        .method(method)
        .uri(uri)
        .header(
            USER_AGENT,
            concat!("devops-lab-kubectl/", env!("CARGO_PKG_VERSION")),
        )
        .header(ACCEPT, accept);
    let request = match body {
        Some((media_type, body)) => builder
            .header(CONTENT_TYPE, media_type)
            .body(Body::from(body.into_bytes())),
        None => builder.body(Body::empty()),
    };
    request.map_err(|error| said(format!("{path} is no path of a Kubernetes API: {error}")))
}

async fn connect(args: &Args) -> Result<(Client, String, String)> {
    let file = kubeconfig(args);
    let explicit = args.value("kubeconfig").is_some() || args.value("context").is_some();
    let chosen = match &file {
        Ok(config) => config
            .current_context
            .as_deref()
            .is_some_and(|name| !name.is_empty()),
        Err(_) => false,
    };
    if !chosen
        && !explicit
        && let Some(own) = own_cluster()?
    {
        return Ok(own);
    }
    let options = KubeConfigOptions {
        context: args.value("context").map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    let config = Config::from_custom_kubeconfig(file?, &options).await;
    let config = config.map_err(|error| said(with_causes(&error)))?;
    let server = config
        .cluster_url
        .authority()
        .map(ToString::to_string)
        .unwrap_or_default();
    let namespace = config.default_namespace.clone();
    Ok((Client::try_from(config)?, server, namespace))
}

/// The cluster that `DEVOPS_LAB_CLUSTER` names, or the default one, where it exists.
fn own_cluster() -> Result<Option<(Client, String, String)>> {
    let name =
        std::env::var("DEVOPS_LAB_CLUSTER").unwrap_or_else(|_| lifecycle::DEFAULT_NAME.to_owned());
    let record = Home::from_env()
        .ok()
        .and_then(|home| home.cluster(&name).load().ok());
    let Some(record) = record else {
        return Ok(None);
    };
    let client = lifecycle::client(&record).map_err(|error| said(format!("{error:#}")))?;
    let server = format!("127.0.0.1:{}", record.ports.api);
    Ok(Some((client, server, "default".to_owned())))
}

/// The text of `299 - "text"`.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(' ')?.1.trim();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(
            warning_text("299 - \"unknown field \\\"spec.bogus\\\"\"").as_deref(),
            Some("unknown field \"spec.bogus\"")
        );
        assert_eq!(warning_text("199 - \"other\""), None);
    }
}
