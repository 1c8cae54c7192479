//! Backends come, go and die under load, and no client notices. Counted, not timed: every
//! request has to be answered as if nothing had happened.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::lab::{Backend, Client, Lab};
use crate::testing::{route, service, slice};

const CLIENTS: usize = 8;

/// A data plane with threads of its own, as a cluster has it.
async fn threaded(objects: impl IntoIterator<Item = Value>) -> Lab {
    let rules = json!([{"backendRefs": [{"name": "a", "port": 80}]}]);
    let fixed = [route("r", &[], rules), service("a")];
    Lab::with(2, 1024, fixed.into_iter().chain(objects)).await
}

/// Clients that ask without a pause while something goes on; the number of answers.
async fn under_load(address: SocketAddr, during: impl Future<Output = ()>) -> usize {
    let stop = CancellationToken::new();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(ask(address, stop.clone())))
        .collect();
    during.await;
    stop.cancel();
    let mut asked = 0;
    for task in tasks {
        asked += task.await.expect("every request got an answer");
    }
    asked
}

async fn ask(address: SocketAddr, stop: CancellationToken) -> usize {
    let mut client = Client::connect(address).await;
    let mut asked = 0;
    while !stop.is_cancelled() {
        let reply = client.get("/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        asked += 1;
    }
    asked
}

/// Asks until a backend answers that says this.
async fn until(address: SocketAddr, word: &str) {
    while Client::connect(address).await.get("/").await.body != word {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_replacement_of_every_backend_loses_no_request() {
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Backend::saying("0").await);
    }
    let slices = replicas.iter().enumerate();
    let slices = slices.map(|(number, replica)| slice("a", number, replica.address));
    let mut lab = threaded(slices).await;
    let address = lab.address;
    let words = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let asked = under_load(address, async {
        for word in words {
            for (number, replica) in replicas.iter_mut().enumerate() {
                let new = Backend::saying(word).await;
                lab.put([slice("a", number, new.address)]);
                // The old one shuts down in order as soon as it is out of the table.
                *replica = new;
                until(address, word).await;
            }
        }
    })
    .await;
    assert!(asked >= CLIENTS * words.len(), "{asked} say little");
    let text = lab.plane.metrics_text();
    for failed in ["5xx", "4xx"] {
        let none = format!("backend=\"default/a:80\",code=\"{failed}\"}} 0");
        assert!(text.lines().any(|line| line.ends_with(&none)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_that_die_cost_no_request_while_another_is_ready() {
    let steady = Backend::saying("steady").await;
    let mut lab = threaded([slice("a", 0, steady.address)]).await;
    let address = lab.address;
    let asked = under_load(address, async {
        for _ in 0..50 {
            let doomed = Backend::saying("doomed").await;
            lab.put([slice("a", 1, doomed.address)]);
            while doomed.connections() == 0 {
                tokio::task::yield_now().await;
            }
            doomed.kill();
        }
    })
    .await;
    assert!(asked >= CLIENTS, "{asked} say little");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_routes_loses_no_request() {
    let (blue, green) = (
        Backend::saying("blue").await,
        Backend::saying("green").await,
    );
    let weights = |blue: u32, green: u32| {
        let rules = json!([{"backendRefs": [
            {"name": "a", "port": 80, "weight": blue}, {"name": "b", "port": 80, "weight": green}]}]);
        route("r", &[], rules)
    };
    let mut lab = threaded([
        service("b"),
        slice("a", 0, blue.address),
        slice("b", 0, green.address),
    ])
    .await;
    let address = lab.address;
    let asked = under_load(address, async {
        for _ in 0..20 {
            for (share, word) in [(0, "green"), (100, "blue")] {
                lab.put([weights(share, 100 - share)]);
                until(address, word).await;
            }
        }
    })
    .await;
    assert!(asked >= CLIENTS, "{asked} say little");
}
