//! An API server that can be stopped and started again over the same store.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use kube::Client;
use lab_apiserver::{ApiServer, ApiServerConfig, Version};
use lab_context::Context;
use lab_store::Store;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Clones are the same server.
#[derive(Clone)]
pub(crate) struct RestartableApi {
    store: Store,
    context: Context,
    running: Arc<Mutex<Option<Running>>>,
}

struct Running {
    router: Router,
    stop: CancellationToken,
}

impl RestartableApi {
    /// A server that is not started yet.
    pub(crate) fn new(context: Context) -> Self {
        Self {
            store: Store::in_memory(),
            context,
            running: Arc::default(),
        }
    }

    /// Starts to answer.
    pub(crate) fn start(&self) {
        let stop = CancellationToken::new();
        let router = self.server(stop.clone()).router();
        *self.running.lock().unwrap() = Some(Running { router, stop });
    }

    /// Ends all watches and answers nobody any more.
    pub(crate) fn stop(&self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.stop.cancel();
        }
    }

    /// A client that is answered while the server runs.
    pub(crate) fn client(&self) -> Client {
        let running = Arc::clone(&self.running);
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let router = running
                .lock()
                .unwrap()
                .as_ref()
                .map(|running| running.router.clone());
            async move { answer(router, request).await }
        });
        Client::new(service, "default")
    }

    /// A client that is always answered, from the same store.
    pub(crate) fn back_door(&self) -> Client {
        Client::new(self.server(CancellationToken::new()).router(), "default")
    }

    fn server(&self, stop: CancellationToken) -> ApiServer {
        let config = ApiServerConfig {
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            version: Version::default(),
            node_connection: None,
            context: self.context.clone(),
            stop,
        };
        ApiServer::new(self.store.clone(), config)
    }
}

async fn answer(
    router: Option<Router>,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, Infallible> {
    match router {
        Some(router) => router.oneshot(request.map(Body::new)).await,
        None => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            Ok(response)
        }
    }
}
