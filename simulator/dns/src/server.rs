//! Sockets: datagrams and connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use kube::Client;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::{Transport, respond};
use crate::watches;
use crate::zone::Zone;

/// Connections served at a time; another waits until one ends. A resolver keeps its connection
/// for one question, so a class never fills this.
const CONNECTIONS: usize = 256;
/// How long a connection may be silent: RFC 7766 asks for "a few seconds".
const IDLE: Duration = Duration::from_secs(10);
/// Pause after an error of a socket, out of file descriptors for one.
const PAUSE: Duration = Duration::from_millis(50);
/// Largest question, in bytes. One name fits in 512; this leaves room for EDNS options.
const LARGEST_QUESTION: usize = 4096;

/// Where the DNS server listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsConfig {
    /// UDP and TCP; these must be had.
    pub listen: Vec<SocketAddr>,
    /// UDP only; these must be had.
    #[serde(default)]
    pub udp: Vec<SocketAddr>,
    /// UDP only; left out where this user may not open the port (53 without privileges).
    #[serde(default)]
    pub udp_if_permitted: Vec<SocketAddr>,
}

/// Why the DNS server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// An address cannot be bound.
    #[error("the cluster's DNS cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// Bound sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    /// Binds what the configuration asks for.
    ///
    /// # Errors
    /// Where an address that must be had cannot be bound.
    pub async fn bind(config: &DnsConfig) -> Result<Self, DnsError> {
        let mut sockets = Self::default();
        for &address in &config.listen {
            let failed = |source| DnsError::Listen { address, source };
            sockets
                .tcp
                .push(TcpListener::bind(address).await.map_err(failed)?);
        }
        for &address in config.listen.iter().chain(&config.udp) {
            let failed = |source| DnsError::Listen { address, source };
            sockets
                .udp
                .push(UdpSocket::bind(address).await.map_err(failed)?);
        }
        for &address in &config.udp_if_permitted {
            match UdpSocket::bind(address).await {
                Ok(socket) => sockets.udp.push(socket),
                Err(error) => tracing::info!(
                    %address, %error,
                    "DNS is not served at its usual port here; applications of the lab's own runtime do not need it"
                ),
            }
        }
        Ok(sockets)
    }

    /// Addresses of the TCP sockets; each has UDP too.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp
            .iter()
            .filter_map(|socket| socket.local_addr().ok())
            .collect()
    }
}

/// Follows the cluster and answers until `stop`.
///
/// # Errors
/// Where an address cannot be bound.
pub async fn run(
    client: Client,
    config: DnsConfig,
    stop: CancellationToken,
) -> Result<(), DnsError> {
    let sockets = Sockets::bind(&config).await?;
    let zone = Arc::new(ArcSwap::from_pointee(Zone::default()));
    tokio::select! {
        () = watches::follow(client, &zone) => {}
        () = serve(sockets, Arc::clone(&zone), stop.clone()) => {}
    }
    Ok(())
}

/// Answers from `zone` until `stop`.
pub async fn serve(sockets: Sockets, zone: Arc<ArcSwap<Zone>>, stop: CancellationToken) {
    let server = Arc::new(Server {
        zone,
        turn: AtomicUsize::new(0),
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        stop,
    });
    let tasks = TaskTracker::new();
    for socket in sockets.udp {
        tasks.spawn(Arc::clone(&server).datagrams(socket));
    }
    for listener in sockets.tcp {
        tasks.spawn(Arc::clone(&server).connections(listener));
    }
    tasks.close();
    tasks.wait().await;
}

struct Server {
    zone: Arc<ArcSwap<Zone>>,
    turn: AtomicUsize,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Server {
    fn answer(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        respond(&self.zone.load(), question, transport, turn)
    }

    /// Answers are made faster than a task is, so each socket is one loop.
    async fn datagrams(self: Arc<Self>, socket: UdpSocket) {
        let mut buffer = vec![0; LARGEST_QUESTION];
        loop {
            let received = tokio::select! {
                () = self.stop.cancelled() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            match received {
                Ok((length, peer)) => {
                    if let Some(answer) = self.answer(&buffer[..length], Transport::Udp)
                        && let Err(error) = socket.send_to(&answer, peer).await
                    {
                        tracing::debug!(%peer, %error, "answer not sent");
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "question not received");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn connections(self: Arc<Self>, listener: TcpListener) {
        let tasks = TaskTracker::new();
        loop {
            let Ok(room) = Arc::clone(&self.connections).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    tasks.spawn(async move {
                        let _room = room;
                        tokio::select! {
                            () = server.stop.cancelled() => {}
                            ended = server.converse(stream) => {
                                if let Err(error) = ended {
                                    tracing::trace!(%error, "DNS connection ended");
                                }
                            }
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "DNS connection not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Questions and answers, each after its length in two bytes (RFC 1035, 4.2.2).
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let length = match tokio::time::timeout(IDLE, stream.read_u16()).await {
                Ok(Ok(length)) => usize::from(length),
                Ok(Err(error)) => return Err(error),
                Err(_) => return Ok(()),
            };
            if length > LARGEST_QUESTION {
                return Ok(());
            }
            buffer.resize(length, 0);
            tokio::time::timeout(IDLE, stream.read_exact(&mut buffer)).await??;
            let Some(answer) = self.answer(&buffer, Transport::Tcp) else {
                continue;
            };
            let Ok(length) = u16::try_from(answer.len()) else {
                return Ok(());
            };
            let framed = [&length.to_be_bytes()[..], &answer].concat();
            tokio::time::timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::sample;
    use simple_dns::rdata::RData;
    use simple_dns::{CLASS, Name, Packet, Question, TYPE};
    use std::net::Ipv4Addr;

    fn question(name: &str) -> Vec<u8> {
        let mut packet = Packet::new_query(9);
        packet.questions.push(Question::new(
            Name::new(name).unwrap(),
            TYPE::A.into(),
            CLASS::IN.into(),
            false,
        ));
        packet.build_bytes_vec().unwrap()
    }

    fn address(bytes: &[u8]) -> Ipv4Addr {
        match Packet::parse(bytes).unwrap().answers[0].rdata {
            RData::A(ref a) => Ipv4Addr::from_bits(a.address),
            ref other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn questions_are_answered_over_udp_and_tcp_until_the_end() {
        let config = DnsConfig {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            udp: Vec::new(),
            udp_if_permitted: Vec::new(),
        };
        // The two sockets of port 0 get two ports; the UDP one is asked for here.
        let sockets = Sockets::bind(&config).await.unwrap();
        let udp = sockets.udp[0].local_addr().unwrap();
        let tcp = sockets.addresses()[0];
        let stop = CancellationToken::new();
        let zone = Arc::new(ArcSwap::from_pointee(sample(None)));
        let server = tokio::spawn(serve(sockets, zone, stop.clone()));

        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let query = question("hello.default.svc.cluster.local");
        client.send_to(&query, udp).await.unwrap();
        let mut buffer = [0; 512];
        let (length, _) = client.recv_from(&mut buffer).await.unwrap();
        let hello = Ipv4Addr::new(10, 96, 0, 7);
        assert_eq!(address(&buffer[..length]), hello);

        let mut stream = TcpStream::connect(tcp).await.unwrap();
        for _ in 0..2 {
            let length = u16::try_from(query.len()).unwrap();
            stream.write_u16(length).await.unwrap();
            stream.write_all(&query).await.unwrap();
            let length = stream.read_u16().await.unwrap();
            let mut buffer = vec![0; length.into()];
            stream.read_exact(&mut buffer).await.unwrap();
            assert_eq!(address(&buffer), hello);
        }
        stop.cancel();
        server.await.unwrap();
    }
}
