//! A data plane, backends and clients for tests.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use lab_context::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::config::GatewayConfig;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::plane::{Plane, Sockets};
use crate::table::Registry;
use crate::testing::{gateway, put, world};
use crate::world::World;

pub(super) type Body = BoxBody<Bytes, hyper::Error>;

/// A body that is there at once.
pub(super) fn text(text: impl Into<Bytes>) -> Body {
    Full::new(text.into())
        .map_err(|never: Infallible| match never {})
        .boxed()
}

/// A data plane with one listener.
pub(super) struct Lab {
    pub(super) world: World,
    registry: Registry,
    pub(super) plane: Arc<Plane>,
    sockets: Sockets,
    pub(super) address: SocketAddr,
}

impl Lab {
    /// A listener on a free port that routes by these objects.
    pub(super) async fn start(objects: impl IntoIterator<Item = Value>) -> Self {
        Self::with(0, 64 * 1024 * 1024, objects).await
    }

    /// The same with this many threads, and bodies of at most this size.
    pub(super) async fn with(
        threads: usize,
        max_body_bytes: u64,
        objects: impl IntoIterator<Item = Value>,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let config = GatewayConfig {
            drain: Duration::from_secs(5),
            threads,
            max_body_bytes,
            ..GatewayConfig::on_loopback()
        };
        let plane = Plane::new(Arc::clone(&metrics), Context::system(1.0), &config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets::new(Arc::clone(&plane));
        sockets.add(address, listener);
        let production = serde_json::json!([{"name": "production", "port": address.port()}]);
        let world = world([gateway(production)].into_iter().chain(objects));
        let registry = Registry::new(Context::system(1.0), metrics);
        let mut lab = Self {
            world,
            registry,
            plane,
            sockets,
            address,
        };
        lab.rebuild();
        lab
    }

    /// Changes objects, and the table with them.
    pub(super) fn put(&mut self, objects: impl IntoIterator<Item = Value>) {
        for object in objects {
            put(&mut self.world, object);
        }
        self.rebuild();
    }

    fn rebuild(&mut self) {
        let table = self.registry.build(&Plan::of(&self.world), &self.world);
        self.plane.table.store(Arc::new(table));
    }

    /// Takes a further socket.
    pub(super) fn add(&mut self, listener: TcpListener) {
        self.sockets.add(listener.local_addr().unwrap(), listener);
    }

    /// Stops as `run` does at its end.
    pub(super) async fn close(self) {
        self.sockets.close().await;
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One GET over a connection of its own.
    pub(super) async fn get(&self, path: &str) -> Reply {
        self.client().await.get(path).await
    }

    /// Everything that the listener answers to these bytes until it closes the connection.
    pub(super) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .expect("the connection is closed")
            .ok();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// A keep-alive connection to a listener.
pub(super) struct Client(http1::SendRequest<Body>);

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    pub(super) async fn get(&mut self, path: &str) -> Reply {
        let request = Request::get(path)
            .header("host", "lab.test")
            .body(text(""))
            .unwrap();
        Reply::of(self.send(request).await).await
    }

    pub(super) async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.0.ready().await.expect("the connection is open");
        self.0
            .send_request(request)
            .await
            .expect("there is an answer")
    }
}

/// A whole response.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Reply {
    pub(super) async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the body ends well").to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Self {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    #[track_caller]
    pub(super) fn is(&self, status: u16, reason: &str, words: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["x-devops-lab-gateway"], reason, "{self:?}");
        assert!(self.body.contains(words), "{self:?}");
    }
}

/// A server that answers requests. When it is dropped it shuts down in order: no further
/// connection, and no further request on those that it has.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Backend {
    pub(super) async fn start<F, R>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            stop: CancellationToken::new(),
            kill: CancellationToken::new(),
        };
        let (stop, kill) = (backend.stop.clone(), backend.kill.clone());
        let connections = Arc::clone(&backend.connections);
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                let serving = serve(stream, handler.clone(), stop.clone());
                tokio::spawn(kill.clone().run_until_cancelled_owned(serving));
            }
        }));
        backend
    }

    /// Ends as a machine does that loses its power.
    pub(super) fn kill(self) {
        self.kill.cancel();
    }

    /// A backend that always says the same.
    pub(super) async fn saying(words: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(text(words)) }).await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve<F, R>(stream: TcpStream, handler: F, stop: CancellationToken)
where
    F: Fn(Request<Incoming>) -> R,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A backend that takes what comes on each connection, up to the end of a head, and says this.
pub(super) async fn scripted(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut said = Vec::new();
            while !said.windows(4).any(|end| end == b"\r\n\r\n") {
                if stream.read_buf(&mut said).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
            // Unread bytes would reset the connection and the answer with it.
            tokio::spawn(async move { stream.read_to_end(&mut said).await });
        }
    });
    address
}

/// An address where nobody listens.
pub(super) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}
