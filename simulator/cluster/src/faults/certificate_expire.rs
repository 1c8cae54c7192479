//! A certificate runs out: a TLS Secret gets one that was valid until yesterday.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::stage::{Place, Stage, kind};
use super::{ANY, FaultDef, Injected, Target};

pub(super) const DEF: FaultDef = FaultDef {
    name: "certificate-expire",
    help: "put an expired certificate in the place of a TLS Secret's",
    expect: "clients of the HTTPS listener that uses the Secret refuse to connect (certificate has expired); curl -k shows that everything behind it still works",
    healed_by: "devops-lab fault heal certificate-expire puts the old certificate back; or make a new one, as one would at work",
    target: Target::Secret,
    engines: ANY,
    options: &[],
    passing: false,
    inject: |stage, request| {
        async move {
            let place = find(stage, request.target.as_deref()).await?;
            let secret = Api::namespaced_with(stage.client.clone(), &place.namespace, &secrets());
            let secret: DynamicObject = secret.get(&place.name).await?;
            let undo = json!({"data": secret.data["data"]});
            let (certificate, key) = expired(&hosts(stage, &place).await?)?;
            let data =
                json!({"tls.crt": STANDARD.encode(certificate), "tls.key": STANDARD.encode(key)});
            stage
                .patch(&secrets(), &place, json!({"data": data}))
                .await?;
            Ok(Injected {
                did: format!("put an expired certificate into Secret {place}"),
                target: place.to_string(),
                undo,
            })
        }
        .boxed()
    },
    heal: |stage, injection| {
        async move {
            let place = Place::parse(&injection.target);
            stage
                .patch(&secrets(), &place, injection.undo.clone())
                .await?;
            Ok(format!("put the old certificate back into Secret {place}"))
        }
        .boxed()
    },
};

fn secrets() -> ApiResource {
    kind("", "v1", "Secret")
}

async fn find(stage: &Stage, asked: Option<&str>) -> anyhow::Result<Place> {
    let used: Vec<_> = listeners(stage).await?;
    let in_use = |object: &DynamicObject| {
        let place = Place {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        used.iter().any(|(secret, _)| *secret == place)
    };
    let is_tls = |object: &DynamicObject| object.data["type"] == "kubernetes.io/tls";
    stage
        .object(
            &secrets(),
            "TLS Secret of an HTTPS listener",
            asked,
            |object| is_tls(object) && (asked.is_some() || in_use(object)),
        )
        .await
}

/// The host names under which a Secret is served.
async fn hosts(stage: &Stage, secret: &Place) -> anyhow::Result<Vec<String>> {
    let listeners = listeners(stage).await?;
    let of_secret = listeners.into_iter().filter(|(used, _)| used == secret);
    let mut hosts: Vec<_> = of_secret.filter_map(|(_, host)| host).collect();
    hosts.push("localhost".to_owned());
    Ok(hosts)
}

/// The Secrets of every listener, with the listener's host name.
async fn listeners(stage: &Stage) -> anyhow::Result<Vec<(Place, Option<String>)>> {
    let gateways = kind("gateway.networking.k8s.io", "v1", "Gateway");
    let api: Api<DynamicObject> = Api::all_with(stage.client.clone(), &gateways);
    let gateways = api.list(&ListParams::default()).await;
    let gateways = gateways.context("the API does not list Gateways")?;
    let mut found = Vec::new();
    for gateway in &gateways.items {
        let own = gateway.metadata.namespace.as_deref().unwrap_or_default();
        for listener in list(&gateway.data["spec"]["listeners"]) {
            for reference in list(&listener["tls"]["certificateRefs"]) {
                let text = |field: &str| reference[field].as_str();
                let place = Place {
                    namespace: text("namespace").unwrap_or(own).to_owned(),
                    name: text("name").unwrap_or_default().to_owned(),
                };
                let host = listener["hostname"].as_str().map(str::to_owned);
                found.push((place, host));
            }
        }
    }
    Ok(found)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Certificate and key, in PEM, of a certificate for `hosts` that ran out yesterday.
fn expired(hosts: &[String]) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(hosts.to_vec())?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, "expired on purpose");
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::days(90);
    parameters.not_after = now - Duration::days(1);
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
