//! `/teacher/`: what the dashboard asks.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::export::Export;
use super::guard::{COOKIE, Teacher, cookie};
use super::{Change, Refusal, Server};
use crate::protocol::{NAME_MAX, NOTE_MAX, What, Wish};
use crate::secrets::{token, verify};
use crate::store::{Hand, Session};

/// A session ends after a day of teaching.
const SESSION_HOURS: i64 = 12;

/// `POST /teacher/login`
#[derive(Deserialize)]
pub(super) struct Login {
    password: String,
    #[serde(default)]
    name: String,
}

/// Answers the session's cookie, and its word for changes.
pub(super) async fn log_in(
    State(server): State<Server>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Json(Login { password, name }): Json<Login>,
) -> Result<Response, Refusal> {
    let (ip, now) = (address.ip(), server.now());
    server.0.limits.admit(ip, now)?;
    let hash = server.0.class.password.clone();
    // A tenth of a second of a core: not on a thread that others wait for.
    let right = tokio::task::spawn_blocking(move || verify(&password, &hash)).await;
    if !right.unwrap_or(false) {
        server.0.limits.wrong(ip, now);
        return Err(Refusal::because(
            StatusCode::FORBIDDEN,
            "this is not the teachers' password",
        ));
    }
    let name: String = name.trim().chars().take(NAME_MAX).collect();
    let session = Session {
        teacher: if name.is_empty() {
            "teacher".to_owned()
        } else {
            name
        },
        csrf: token(),
    };
    let (given, kept) = (token(), session.clone());
    let cookie = format!(
        "{COOKIE}={given}; Path=/teacher; HttpOnly; SameSite=Strict; Max-Age={}",
        SESSION_HOURS * 3600
    );
    let ends = now
        .checked_add(SignedDuration::from_hours(SESSION_HOURS))
        .unwrap_or(now);
    server
        .with_store(move |store| store.log_in(&given, &kept, ends))
        .await?;
    let Session { teacher, csrf } = session;
    let body = Json(json!({"teacher": teacher, "csrf": csrf}));
    Ok(([(header::SET_COOKIE, cookie)], body).into_response())
}

/// `POST /teacher/logout`
pub(super) async fn log_out(
    State(server): State<Server>,
    Teacher(_): Teacher,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    if let Some(token) = cookie(&headers) {
        server
            .with_store(move |store| store.log_out(&token))
            .await?;
    }
    let gone = format!("{COOKIE}=; Path=/teacher; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok(([(header::SET_COOKIE, gone)], StatusCode::NO_CONTENT).into_response())
}

/// `GET /teacher/api/class`: everything that the dashboard shows.
pub(super) async fn class(
    State(server): State<Server>,
    Teacher(session): Teacher,
) -> Result<Json<Value>, Refusal> {
    let hands = server.with_store(|store| store.hands()).await?;
    let orders = server.with_store(|store| store.orders(0, 0)).await?;
    let (board, now) = (server.board(), server.now());
    let Session { teacher, csrf } = session;
    Ok(Json(json!({
        "title": server.0.class.title,
        "code": server.0.class.code,
        "begun": server.0.class.begun,
        "now": now,
        "teacher": teacher,
        "csrf": csrf,
        "course": server.0.course,
        "students": board.seen(&server.0.course, now),
        "common": board.common(),
        "hands": hands.iter().map(hand).collect::<Vec<_>>(),
        "orders": orders,
    })))
}

fn hand(hand: &Hand) -> Value {
    let Hand {
        student,
        number,
        at,
        what,
        taken_by,
        taken,
    } = hand;
    let (lab, step, diagnosis, note) = match what {
        What::HandRaised {
            lab,
            step,
            diagnosis,
            note,
        } => (
            lab.as_str(),
            step.as_str(),
            diagnosis.as_ref(),
            note.as_str(),
        ),
        _ => ("", "", None, ""),
    };
    json!({
        "student": student, "number": number, "at": at, "lab": lab, "step": step,
        "cause": diagnosis, "note": note, "takenBy": taken_by, "taken": taken,
    })
}

/// `GET /teacher/api/students/ID`: a student with her timeline.
pub(super) async fn student(
    State(server): State<Server>,
    Teacher(_): Teacher,
    Path(id): Path<u64>,
) -> Result<Json<Value>, Refusal> {
    let records = server
        .with_store(move |store| store.records(Some(id)))
        .await?;
    let seen = server
        .board()
        .student(id, &server.0.course, server.now())
        .ok_or_else(nobody)?;
    let timeline: Vec<_> = records
        .iter()
        .map(|record| json!({"number": record.number, "at": record.at, "what": record.what}))
        .collect();
    Ok(Json(json!({"student": seen, "timeline": timeline})))
}

fn nobody() -> Refusal {
    Refusal::because(StatusCode::NOT_FOUND, "there is no such student")
}

/// A wish for one student, or for all.
#[derive(Deserialize)]
pub(super) struct Wished {
    #[serde(default)]
    student: Option<u64>,
    #[serde(flatten)]
    wish: Wish,
}

/// `POST /teacher/api/wish`
pub(super) async fn wish(
    State(server): State<Server>,
    Teacher(_): Teacher,
    Json(Wished { student, wish }): Json<Wished>,
) -> Result<Json<Value>, Refusal> {
    reasonable(&server, student, &wish)?;
    let now = server.now();
    let order = server
        .with_store(move |store| store.wish(student, wish, now))
        .await?;
    server.0.orders.send_replace(order.number);
    server.tell(Change::Orders);
    Ok(Json(json!({"number": order.number})))
}

fn reasonable(server: &Server, student: Option<u64>, wish: &Wish) -> Result<(), Refusal> {
    let bad = |message: String| Err(Refusal::because(StatusCode::BAD_REQUEST, message));
    let course = &server.0.course;
    if let Some(id) = student
        && server.board().student(id, course, server.now()).is_none()
    {
        return Err(nobody());
    }
    match wish {
        Wish::Message { text } if text.trim().is_empty() || text.chars().count() > NOTE_MAX => {
            bad(format!("a message has one to {NOTE_MAX} characters"))
        }
        Wish::Point { lab, step } if !course.has(lab, step) => {
            bad(format!("there is no step {lab}/{step}"))
        }
        Wish::Labs { open } => {
            let known = |name: &&String| course.labs.iter().any(|lab| lab.name == **name);
            match open.iter().find(|name| !known(name)) {
                Some(name) => bad(format!("there is no lab {name}")),
                None => Ok(()),
            }
        }
        Wish::HandTaken { .. } | Wish::HandClosed {} => {
            bad("hands are taken and closed in their queue".to_owned())
        }
        Wish::Fault { .. } => match student {
            Some(id) if !server.board().agreed_to_faults(id) => bad(
                "this student has not agreed to faults (devops-lab class join --faults)".to_owned(),
            ),
            _ => Ok(()),
        },
        Wish::Message { .. } | Wish::Point { .. } => Ok(()),
    }
}

/// `POST /teacher/api/hands/STUDENT/NUMBER/take`
pub(super) async fn take_hand(
    State(server): State<Server>,
    Teacher(session): Teacher,
    Path((student, number)): Path<(u64, u64)>,
) -> Result<StatusCode, Refusal> {
    let (now, by) = (server.now(), session.teacher);
    let wish = Wish::HandTaken { by: by.clone() };
    let done = move |store: &crate::store::Store| {
        if !store.take_hand(student, number, &by, now)? {
            return Ok(None);
        }
        store.wish(Some(student), wish, now).map(Some)
    };
    hand_changed(&server, server.with_store(done).await?)
}

/// `POST /teacher/api/hands/STUDENT/NUMBER/close`
pub(super) async fn close_hand(
    State(server): State<Server>,
    Teacher(_): Teacher,
    Path((student, number)): Path<(u64, u64)>,
) -> Result<StatusCode, Refusal> {
    let now = server.now();
    let done = move |store: &crate::store::Store| {
        if !store.close_hand(student, number, now)? {
            return Ok(None);
        }
        store
            .wish(Some(student), Wish::HandClosed {}, now)
            .map(Some)
    };
    hand_changed(&server, server.with_store(done).await?)
}

fn hand_changed(
    server: &Server,
    order: Option<crate::protocol::Order>,
) -> Result<StatusCode, Refusal> {
    let Some(order) = order else {
        return Err(Refusal::because(
            StatusCode::CONFLICT,
            "another teacher has taken this hand, or it is settled",
        ));
    };
    server.0.orders.send_replace(order.number);
    server.tell(Change::Hands);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /teacher/export.csv`: a line per student and step done.
pub(super) async fn export_csv(
    State(server): State<Server>,
    Teacher(_): Teacher,
) -> Result<Response, Refusal> {
    let export = export(&server).await?;
    let kind = (header::CONTENT_TYPE, "text/csv; charset=utf-8");
    let name = (
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"class.csv\"",
    );
    Ok(([kind, name], export.csv()).into_response())
}

/// `GET /teacher/export.json`: everything, to be merged or kept.
pub(super) async fn export_json(
    State(server): State<Server>,
    Teacher(_): Teacher,
) -> Result<Response, Refusal> {
    let export = export(&server).await?;
    let kind = (header::CONTENT_TYPE, "application/json");
    let name = (
        header::CONTENT_DISPOSITION,
        "attachment; filename=\"class.json\"",
    );
    Ok(([kind, name], export.json()).into_response())
}

async fn export(server: &Server) -> Result<Export, Refusal> {
    let (class, course) = (server.0.class.clone(), server.0.course.clone());
    let now = server.now();
    server
        .with_store(move |store| Export::of(store, &class, &course, now))
        .await
}
