//! Asking a cluster's metrics, as any client of Prometheus does.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::record::Record;

pub use lab_api::monitoring::duration_ms;

/// `data` of an answer under `/api/v1/`, such as `query` with its parameters.
///
/// # Errors
/// Where nobody answers, or with what the answer says is wrong.
pub async fn ask(
    record: &Record,
    endpoint: &str,
    parameters: &[(&str, &str)],
) -> anyhow::Result<Value> {
    let name = &record.name;
    let Some(port) = record.ports.metrics else {
        bail!(
            "cluster {name:?} was made by an older devops-lab and has no metrics; make it anew: devops-lab delete --name {name}, then devops-lab start --name {name}"
        );
    };
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    let uri = format!(
        "http://127.0.0.1:{port}/api/v1/{endpoint}?{}",
        query.finish()
    );
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = async {
        let response = client.get(uri.parse()?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok(body)
    };
    let body = answer.await.with_context(|| {
        format!("the metrics of cluster {name:?} do not answer on 127.0.0.1:{port}; start it: devops-lab start --name {name}")
    })?;
    let mut answer: Value = serde_json::from_slice(&body).with_context(|| {
        format!("127.0.0.1:{port} is answered by another program than the metrics of cluster {name:?}; `ss -ltnp 'sport = :{port}'` shows which")
    })?;
    if answer["status"] != "success" {
        let said = answer["error"].as_str();
        bail!(
            "{}",
            said.unwrap_or("the metrics refuse, and do not say why")
        );
    }
    Ok(answer["data"].take())
}
