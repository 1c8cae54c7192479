//! Startup, liveness and readiness probes.
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/probes/>

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use lab_engine::ContainerId;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::agent::{Entry, Shared};
use crate::sync::reference_to;

/// Before its first success a container is asked more often than its author wrote, from this
/// pause on, doubling up to the probe's period: an application that is up after 30 ms should not
/// wait ten seconds for its first request. These early tries count towards no threshold.
const EAGER_PAUSE: Duration = Duration::from_millis(10);

/// What the probes of a pod's containers found so far.
#[derive(Default)]
pub(crate) struct Verdicts {
    containers: Mutex<HashMap<String, Verdict>>,
}

struct Verdict {
    run: ContainerId,
    started: bool,
    ready: bool,
    doomed: Option<&'static str>,
    task: Option<AbortHandle>,
}

impl Drop for Verdict {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Verdicts {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Verdict>> {
        self.containers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// True where this run's startup probe succeeded (or it has none).
    pub(crate) fn started(&self, container: &str, run: &ContainerId) -> bool {
        self.lock()
            .get(container)
            .is_some_and(|verdict| verdict.run == *run && verdict.started)
    }

    /// True where this run is ready for requests.
    pub(crate) fn ready(&self, container: &str, run: &ContainerId) -> bool {
        self.lock()
            .get(container)
            .is_some_and(|verdict| verdict.run == *run && verdict.started && verdict.ready)
    }

    /// The probe that failed for good, if any.
    pub(crate) fn doomed(&self, container: &str, run: &ContainerId) -> Option<&'static str> {
        self.lock()
            .get(container)
            .filter(|verdict| verdict.run == *run)
            .and_then(|verdict| verdict.doomed)
    }

    /// True where probing of this run has begun.
    pub(crate) fn covers(&self, container: &str, run: &ContainerId) -> bool {
        self.lock()
            .get(container)
            .is_some_and(|verdict| verdict.run == *run)
    }

    /// Ends all probing.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn update(
        &self,
        container: &str,
        run: &ContainerId,
        change: impl FnOnce(&mut Verdict),
    ) -> bool {
        let mut verdicts = self.lock();
        let Some(verdict) = verdicts
            .get_mut(container)
            .filter(|verdict| verdict.run == *run)
        else {
            return false;
        };
        let before = (verdict.started, verdict.ready, verdict.doomed);
        change(verdict);
        before != (verdict.started, verdict.ready, verdict.doomed)
    }
}

/// Begins probing a run of a container; a container without probes is ready at once.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    entry: &Arc<Entry>,
    container: &Container,
    run: &ContainerId,
    ip: IpAddr,
) {
    let probed = container.startup_probe.is_some()
        || container.liveness_probe.is_some()
        || container.readiness_probe.is_some();
    let verdict = Verdict {
        run: run.clone(),
        started: container.startup_probe.is_none(),
        ready: container.readiness_probe.is_none(),
        doomed: None,
        task: None,
    };
    entry
        .verdicts
        .lock()
        .insert(container.name.clone(), verdict);
    if probed {
        let prober = Prober {
            shared: Arc::clone(shared),
            entry: Arc::clone(entry),
            container: container.clone(),
            run: run.clone(),
            ip,
        };
        let task = tokio::spawn(prober.run()).abort_handle();
        entry
            .verdicts
            .update(&container.name, run, |verdict| verdict.task = Some(task));
    }
}

struct Prober {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    container: Container,
    run: ContainerId,
    ip: IpAddr,
}

/// The numbers of a probe, with Kubernetes' defaults.
struct Pace {
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    successes: i32,
    failures: i32,
}

impl Pace {
    fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap_or_default())
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            successes: probe.success_threshold.unwrap_or(1).max(1),
            failures: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }
}

impl Prober {
    async fn run(self) {
        if let Some(probe) = &self.container.startup_probe
            && !self.wait_for_start(probe).await
        {
            return;
        }
        tokio::join!(self.watch_liveness(), self.watch_readiness());
    }

    fn set(&self, change: impl FnOnce(&mut Verdict)) {
        if self
            .entry
            .verdicts
            .update(&self.container.name, &self.run, change)
        {
            self.shared.wake(&self.entry);
        }
    }

    async fn wait_for_start(&self, probe: &Probe) -> bool {
        let pace = Pace::of(probe);
        sleep(pace.initial_delay).await;
        if self.ask_eagerly(probe, &pace).await {
            self.set(|verdict| verdict.started = true);
            return true;
        }
        let mut failed = 0;
        loop {
            match self.ask(probe, &pace).await {
                Ok(()) => {
                    self.set(|verdict| verdict.started = true);
                    return true;
                }
                Err(why) => {
                    failed += 1;
                    self.report("Startup", &why);
                    if failed >= pace.failures {
                        self.set(|verdict| verdict.doomed = Some("Startup"));
                        return false;
                    }
                }
            }
            sleep(pace.period).await;
        }
    }

    async fn watch_liveness(&self) {
        let Some(probe) = &self.container.liveness_probe else {
            return;
        };
        let pace = Pace::of(probe);
        sleep(pace.initial_delay).await;
        let mut failed = 0;
        loop {
            // The first look comes a period after the start: right at the start everything fails.
            sleep(pace.period).await;
            match self.ask(probe, &pace).await {
                Ok(()) => failed = 0,
                Err(why) => {
                    failed += 1;
                    self.report("Liveness", &why);
                }
            }
            if failed >= pace.failures {
                self.set(|verdict| verdict.doomed = Some("Liveness"));
                return;
            }
        }
    }

    async fn watch_readiness(&self) {
        let Some(probe) = &self.container.readiness_probe else {
            return;
        };
        let pace = Pace::of(probe);
        sleep(pace.initial_delay).await;
        let (mut ready, mut passed, mut failed) = (false, 0, 0);
        if pace.successes == 1 && self.ask_eagerly(probe, &pace).await {
            ready = true;
            self.set(|verdict| verdict.ready = true);
            sleep(pace.period).await;
        }
        loop {
            match self.ask(probe, &pace).await {
                Ok(()) => (passed, failed) = (passed + 1, 0),
                Err(why) => {
                    (passed, failed) = (0, failed + 1);
                    self.report("Readiness", &why);
                }
            }
            if !ready && passed >= pace.successes {
                ready = true;
                self.set(|verdict| verdict.ready = true);
            } else if ready && failed >= pace.failures {
                ready = false;
                self.set(|verdict| verdict.ready = false);
            }
            sleep(pace.period).await;
        }
    }

    /// Tries for one period in quick succession; true at the first success.
    async fn ask_eagerly(&self, probe: &Probe, pace: &Pace) -> bool {
        let deadline = tokio::time::Instant::now() + pace.period;
        let mut pause = EAGER_PAUSE;
        while tokio::time::Instant::now() < deadline {
            if self.ask(probe, pace).await.is_ok() {
                return true;
            }
            sleep(pause).await;
            pause = (pause * 2).min(pace.period);
        }
        false
    }

    fn report(&self, probe: &str, why: &str) {
        let pod = self.entry.pod();
        self.shared.recorder(&pod).warning(
            &reference_to(&pod, &self.container.name),
            "Unhealthy",
            format!("{probe} probe failed: {why}"),
        );
    }

    async fn ask(&self, probe: &Probe, pace: &Pace) -> Result<(), String> {
        let engine = &self.shared.engine;
        if engine.pods_are_simulated() {
            let passes = engine.simulated_probe(&self.run).await;
            return if passes {
                Ok(())
            } else {
                Err("simulated failure".to_owned())
            };
        }
        if let Some(exec) = &probe.exec {
            let command = exec.command.clone().unwrap_or_default();
            let output = engine
                .exec(&self.run, &command, pace.timeout)
                .await
                .map_err(|error| error.to_string())?;
            return if output.exit_code == 0 {
                Ok(())
            } else {
                Err(String::from_utf8_lossy(&output.output).into_owned())
            };
        }
        let attempt = async {
            if let Some(get) = &probe.http_get {
                http_get(self.address(&get.port)?, self.ip, get).await
            } else if let Some(tcp) = &probe.tcp_socket {
                let address = self.address(&tcp.port)?;
                TcpStream::connect(address)
                    .await
                    .map(drop)
                    .map_err(|error| unreachable_text(address, &error))
            } else {
                Err("gRPC probes are not supported here; use httpGet, tcpSocket or exec".to_owned())
            }
        };
        timeout(pace.timeout, attempt)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", pace.timeout.as_secs())))
    }

    fn address(&self, port: &IntOrString) -> Result<SocketAddr, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let ports = self.container.ports.as_deref().unwrap_or_default();
                let named = ports.iter().find(|p| p.name.as_ref() == Some(name));
                named
                    .map(|p| p.container_port)
                    .or_else(|| name.parse().ok())
            }
        };
        number
            .and_then(|number| u16::try_from(number).ok())
            .map(|port| SocketAddr::new(self.ip, port))
            .ok_or_else(|| format!("the container has no port named {port:?}"))
    }
}

/// Why a connection could not be made, in the words that people search for.
fn unreachable_text(address: SocketAddr, error: &io::Error) -> String {
    let why = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        _ => error.to_string(),
    };
    format!("dial tcp {address}: {why}")
}

/// Succeeds on a status from 200 to 399.
async fn http_get(address: SocketAddr, ip: IpAddr, get: &HTTPGetAction) -> Result<(), String> {
    if get
        .scheme
        .as_deref()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
    {
        return Err("HTTPS probes are not supported here; use scheme HTTP".to_owned());
    }
    let path = get
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let url = format!("http://{address}{path}");
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("Get \"{url}\": {}", unreachable_text(address, &error)))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("Get \"{url}\": {error}"))?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::get(path)
        .header(
            http::header::HOST,
            get.host.clone().unwrap_or_else(|| ip.to_string()),
        )
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::CONNECTION, "close");
    for header in get.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| format!("Get \"{url}\": {error}"))?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| format!("Get \"{url}\": {error}"));
    driver.abort();
    let status = response?.status();
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!(
            "HTTP probe failed with statuscode: {}",
            status.as_u16()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_probe_of_a_port_where_nobody_listens_reads_as_in_kubernetes() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let get = HTTPGetAction {
            path: Some("/readyz".to_owned()),
            ..HTTPGetAction::default()
        };
        let why = http_get(address, address.ip(), &get).await.unwrap_err();
        assert_eq!(
            why,
            format!(
                "Get \"http://{address}/readyz\": dial tcp {address}: connect: connection refused"
            )
        );
    }
}
