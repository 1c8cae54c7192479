//! One address behind a Service: whether it may be tried, how busy it is, and its idle
//! connections.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::http1::Link;
use super::upstream::Http2;
use super::workers;
use crate::metrics::Classes;

/// How long an endpoint that did not take a connection is left alone, the first time. Short
/// enough that a container that restarts inside its pod is soon used again.
const EJECTION: Duration = Duration::from_secs(3);

/// The time doubles with each failure in a row, this often: up to 24 s. Each failed try of a
/// machine that is gone makes some client wait a second, and a pod that comes back is told by
/// its EndpointSlice anyway.
const DOUBLINGS: u32 = 3;

/// Idle connections kept per endpoint: as many as a busy client of this machine opens.
const IDLE_MAX: usize = 256;

/// How long a connection stays idle before it is closed.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// One address of one pod, as long as it is in the table or a request uses it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Name of the pod; empty where the EndpointSlice tells none.
    pub(crate) pod: String,
    in_flight: AtomicUsize,
    made: Instant,
    /// Milliseconds after `made`.
    ejected_until: AtomicU64,
    /// Connections not taken since the last one that was.
    failures: AtomicU32,
    /// Answers to HTTP requests.
    pub(crate) answers: Classes,
    /// One per thread of the data plane.
    pools: [Pool; workers::MOST],
}

/// Idle connections of one thread; the lock is contended only by whoever sweeps.
#[derive(Default)]
struct Pool {
    http1: Mutex<VecDeque<(Link, Instant)>>,
    http2: Mutex<Option<Http2>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Pool")
    }
}

impl Endpoint {
    /// An endpoint without connections, in good standing.
    pub(crate) fn new(address: SocketAddr, pod: String) -> Self {
        Self {
            address,
            pod,
            in_flight: AtomicUsize::new(0),
            made: Instant::now(),
            ejected_until: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            answers: Classes::default(),
            pools: std::array::from_fn(|_| Pool::default()),
        }
    }

    /// Leaves the endpoint alone for a while: it did not take a connection.
    pub(super) fn eject(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        let rest = EJECTION * 2_u32.pow(failures.min(DOUBLINGS));
        let until = millis(self.made.elapsed() + rest);
        self.ejected_until.store(until, Ordering::Relaxed);
    }

    /// It took a connection, so it is in good standing.
    pub(super) fn admit(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.ejected_until.store(0, Ordering::Relaxed);
    }

    /// True while it is left alone.
    pub(crate) fn is_ejected(&self) -> bool {
        match self.ejected_until.load(Ordering::Relaxed) {
            0 => false,
            until => millis(self.made.elapsed()) < until,
        }
    }

    /// Counts a request or a connection until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Requests and connections that it has.
    pub(crate) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts an answer.
    pub(super) fn count(&self, status: StatusCode) {
        self.answers.count(status);
    }

    fn pool(&self) -> &Pool {
        &self.pools[workers::number()]
    }

    /// The connection that was used last, because it is the least likely to have been closed
    /// by the other side.
    pub(super) fn take_idle(&self) -> Option<Link> {
        let mut idle = self.pool().http1();
        while let Some((link, _)) = idle.pop_back() {
            if link.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn put_idle(&self, link: Link) {
        let mut idle = self.pool().http1();
        if idle.len() < IDLE_MAX {
            idle.push_back((link, Instant::now()));
        }
    }

    /// Closes connections that were idle for too long or that the other side has closed.
    pub(super) fn sweep(&self) {
        for pool in &self.pools {
            let mut idle = pool.http1();
            idle.retain(|(link, since)| since.elapsed() < IDLE_TIME && link.is_quiet());
            if idle.is_empty() {
                *idle = VecDeque::new();
            }
        }
    }

    /// The shared HTTP/2 connection, if it is still open.
    pub(super) fn http2(&self) -> Option<Http2> {
        let shared = self.pool().http2();
        shared.clone().filter(|connection| !connection.is_closed())
    }

    /// Stops sharing an HTTP/2 connection that has ended.
    pub(super) fn forget_closed_http2(&self) {
        let mut shared = self.pool().http2();
        if shared.as_ref().is_some_and(Http2::is_closed) {
            *shared = None;
        }
    }

    /// Shares an HTTP/2 connection.
    pub(super) fn share_http2(&self, connection: Http2) {
        *self.pool().http2() = Some(connection);
    }
}

impl Pool {
    fn http1(&self) -> MutexGuard<'_, VecDeque<(Link, Instant)>> {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn http2(&self) -> MutexGuard<'_, Option<Http2>> {
        self.http2.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A request or a connection that an endpoint has.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Endpoint>);

impl InFlight {
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The endpoints that get new requests for one Service port.
#[derive(Debug, Default)]
pub(crate) struct EndpointSet {
    members: Vec<Arc<Endpoint>>,
    next: AtomicUsize,
}

impl EndpointSet {
    /// A set whose turns begin with member number `start`, modulo their number. Sets of
    /// successive tables should begin differently, or the first member would be preferred by a
    /// configuration that changes often.
    pub(crate) fn new(members: Vec<Arc<Endpoint>>, start: usize) -> Self {
        Self {
            members,
            next: AtomicUsize::new(start),
        }
    }

    /// The endpoint for the next request: in turns, but of two neighbours the less busy one.
    /// An ejected endpoint is taken only when all that were not `tried` are ejected, since then
    /// the fault may be over as well as not.
    pub(super) fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let untried = |endpoint: &&Arc<Endpoint>| !tried.contains(&endpoint.address);
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let turn = |offset: usize| &self.members[start.wrapping_add(offset) % self.members.len()];
        let in_turn = || (0..self.members.len()).map(turn).filter(untried);
        let mut fit = in_turn().filter(|endpoint| !endpoint.is_ejected());
        let chosen = match (fit.next(), fit.next()) {
            (Some(first), Some(second)) if second.load() < first.load() => Some(second),
            (Some(first), _) => Some(first),
            (None, _) => in_turn().next(),
        };
        chosen.map(Arc::clone)
    }

    /// The members, in the order of their turns.
    pub(crate) fn members(&self) -> &[Arc<Endpoint>] {
        &self.members
    }

    /// The endpoint for all connections of one client. Every client ranks the members by itself,
    /// so that one that comes or goes moves the clients that it gets or had, and no others.
    pub(super) fn pick_for(&self, client: IpAddr, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let rank = |endpoint: &&Arc<Endpoint>| {
            let mut hasher = DefaultHasher::new();
            (client, endpoint.address).hash(&mut hasher);
            (!endpoint.is_ejected(), hasher.finish())
        };
        let members = self.members.iter();
        let untried = members.filter(|endpoint| !tried.contains(&endpoint.address));
        untried.max_by_key(rank).map(Arc::clone)
    }

    /// The members as JSON.
    pub(crate) fn describe(&self) -> serde_json::Value {
        let member = |endpoint: &Arc<Endpoint>| {
            serde_json::json!({
                "address": endpoint.address.to_string(),
                "inFlight": endpoint.load(),
                "ejected": endpoint.is_ejected(),
            })
        };
        self.members.iter().map(member).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(size: u16) -> EndpointSet {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        EndpointSet::new(
            (1..=size)
                .map(|port| Arc::new(Endpoint::new(address(port), String::new())))
                .collect(),
            0,
        )
    }

    fn ports(set: &EndpointSet, picks: usize) -> Vec<u16> {
        (0..picks)
            .map(|_| set.pick(&[]).unwrap().address.port())
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_sticky_client_stays_where_it_is_while_that_is_there() {
        let client = |last| IpAddr::from([127, 0, 1, last]);
        let of = |set: &EndpointSet, last| set.pick_for(client(last), &[]).unwrap().address;
        let (three, four) = (set(3), set(4));
        let mut used: Vec<_> = (0..50).map(|last| of(&three, last)).collect();
        assert!((0..50).all(|last| of(&three, last) == used[usize::from(last)]));
        let moved = (0..50).filter(|last| of(&four, *last) != of(&three, *last));
        assert!(moved.clone().count() < 25);
        assert!(moved.clone().all(|last| of(&four, last).port() == 4));
        used.sort();
        used.dedup();
        assert_eq!(used.len(), 3);
        let first = three.pick_for(client(1), &[]).unwrap();
        first.eject();
        assert_ne!(of(&three, 1), first.address);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_endpoints_take_turns() {
        assert_eq!(ports(&set(3), 6), [1, 2, 3, 1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_endpoint_leaves_its_turn_to_the_next() {
        let set = set(3);
        let busy: Vec<_> = (0..5).map(|_| set.members[0].begin()).collect();
        assert_eq!(ports(&set, 3), [2, 2, 3]);
        drop(busy);
        assert_eq!(ports(&set, 3), [1, 2, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejected_endpoint_rests_for_a_while() {
        let set = set(2);
        set.members[0].eject();
        assert_eq!(ports(&set, 3), [2, 2, 2]);
        tokio::time::advance(EJECTION).await;
        assert!(ports(&set, 2).contains(&1));
        set.members[0].eject();
        tokio::time::advance(EJECTION).await;
        assert_eq!(ports(&set, 3), [2, 2, 2], "the second time it rests longer");
        set.members[0].admit();
        assert!(ports(&set, 2).contains(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_are_ejected_they_are_tried_all_the_same() {
        let set = set(2);
        set.members.iter().for_each(|endpoint| endpoint.eject());
        let first = set.pick(&[]).unwrap();
        let second = set.pick(&[first.address]).unwrap();
        assert_ne!(first.address, second.address);
        assert!(set.pick(&[first.address, second.address]).is_none());
    }
}
