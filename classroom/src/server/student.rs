//! `/api/`: what students' machines ask.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use tokio::time::timeout;

use super::guard::Student;
use super::{Change, Refusal, Server};
use crate::protocol::{
    BATCH_MAX, Batch, Event, Join, Joined, NAME_MAX, NOTE_MAX, Orders, Receipt, What,
};
use crate::secrets::{plain_code, same, token};

/// Longest wait for orders: what lies between may end a silent connection after a minute.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// `POST /api/join`
pub(super) async fn join(
    State(server): State<Server>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Json(join): Json<Join>,
) -> Result<Json<Joined>, Refusal> {
    let Join {
        code,
        name,
        client,
        version,
    } = join;
    let (ip, now) = (address.ip(), server.now());
    server.0.limits.admit(ip, now)?;
    if !same(&plain_code(&code), &plain_code(&server.0.class.code)) {
        server.0.limits.wrong(ip, now);
        return Err(Refusal::because(
            StatusCode::FORBIDDEN,
            "this is not the code of the class: compare it with the one that the teacher shows",
        ));
    }
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() || name.chars().count() > NAME_MAX {
        let message = format!("a name has one to {NAME_MAX} characters");
        return Err(Refusal::because(StatusCode::BAD_REQUEST, message));
    }
    if client.is_empty() || client.len() > 64 || version.len() > 32 {
        return Err(Refusal::because(
            StatusCode::BAD_REQUEST,
            "client has 1 to 64 bytes, version at most 32",
        ));
    }
    let given = token();
    let kept = given.clone();
    let (student, member) = server
        .with_store(move |store| {
            let student = store.admit(&client, &name, &version, &kept, now)?;
            let members = store.members()?;
            Ok((
                student,
                members.into_iter().find(|member| member.id == student),
            ))
        })
        .await?;
    if let Some(member) = member {
        server.board().admit(member);
    }
    server.tell(Change::Student(student));
    Ok(Json(Joined {
        student,
        token: given,
        class: server.0.class.title.clone(),
        version: server.0.version.clone(),
    }))
}

/// `POST /api/events`
pub(super) async fn events(
    State(server): State<Server>,
    Student(student): Student,
    Json(Batch { events }): Json<Batch>,
) -> Result<Json<Receipt>, Refusal> {
    let fine = events.len() <= BATCH_MAX
        && events.iter().all(is_fine)
        && events.is_sorted_by_key(|event| event.number);
    if !fine {
        let message = format!("at most {BATCH_MAX} events in their order, with short texts");
        return Err(Refusal::because(StatusCode::BAD_REQUEST, message));
    }
    let now = server.now();
    let (acknowledged, fresh) = server
        .with_store(move |store| store.keep(student, &events, now))
        .await?;
    let hands = fresh.iter().any(|event| {
        matches!(
            event.what,
            What::HandRaised { .. } | What::HandLowered {} | What::Left {}
        )
    });
    {
        let mut board = server.board();
        board.heard_of(student, now);
        for event in &fresh {
            board.apply(student, event.at, now, &event.what);
        }
    }
    if !fresh.is_empty() {
        server.tell(Change::Student(student));
    }
    if hands {
        server.tell(Change::Hands);
    }
    Ok(Json(Receipt { acknowledged }))
}

/// Bounded texts, and a number that can be counted from.
fn is_fine(event: &Event) -> bool {
    let short = |text: &str| text.len() <= 4 * NOTE_MAX;
    let name = |text: &str| text.len() <= 100;
    event.number > 0
        && event.number <= u64::from(u32::MAX)
        && event
            .what
            .place()
            .is_none_or(|(lab, step)| name(lab) && name(step))
        && match &event.what {
            What::Checked { diagnosis, .. } => diagnosis
                .iter()
                .all(|cause| name(&cause.id) && short(&cause.text.en) && short(&cause.text.fr)),
            What::HandRaised {
                diagnosis, note, ..
            } => {
                short(note)
                    && diagnosis.iter().all(|cause| {
                        name(&cause.id) && short(&cause.text.en) && short(&cause.text.fr)
                    })
            }
            What::Doctor { findings } => {
                findings.len() <= 50
                    && findings
                        .iter()
                        .all(|(key, finding)| name(key) && short(&finding.text))
            }
            What::Recovered { fault, .. } => name(fault),
            What::Opened { .. }
            | What::Hinted { .. }
            | What::HandLowered {}
            | What::Faults { .. }
            | What::Left {} => true,
        }
}

/// Parameters of `GET /api/orders`.
#[derive(Deserialize)]
pub(super) struct Since {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

/// `GET /api/orders?after=N&wait=S`
pub(super) async fn orders(
    State(server): State<Server>,
    Student(student): Student,
    Query(Since { after, wait }): Query<Since>,
) -> Result<Json<Orders>, Refusal> {
    let mut grown = server.0.orders.subscribe();
    let wait = Duration::from_secs(wait).min(WAIT_MAX);
    server.board().heard_of(student, server.now());
    let found = timeout(wait, async {
        loop {
            let orders = server
                .with_store(move |store| store.orders(student, after))
                .await?;
            if !orders.is_empty() || wait.is_zero() {
                return Ok::<_, Refusal>(orders);
            }
            if grown.changed().await.is_err() {
                return Ok(Vec::new());
            }
        }
    })
    .await;
    let orders = found.unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok(Json(Orders { orders }))
}

/// `POST /api/leave`
pub(super) async fn leave(
    State(server): State<Server>,
    Student(student): Student,
) -> Result<StatusCode, Refusal> {
    let now = server.now();
    server
        .with_store(move |store| store.forget_token(student))
        .await?;
    server.board().apply(student, now, now, &What::Left {});
    server.tell(Change::Student(student));
    server.tell(Change::Hands);
    Ok(StatusCode::NO_CONTENT)
}
