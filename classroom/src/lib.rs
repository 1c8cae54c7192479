//! The classroom: a server on the teacher's laptop that students join by a code, the pages that
//! the teacher watches them on, and the student's side of both.
//!
//! ```text
//! student's commands ─▶ outbox ─▶ agent ══ HTTP ══▶ server ─▶ store (SQLite)
//!                                   ▲                  │
//!                                   └──── orders ◀─────┤
//!                                                      └─▶ board ─▶ dashboard (live)
//! ```
//!
//! What a student shares are [`protocol::Event`]s, and nothing else. They are written down on her
//! machine first ([`outbox`]), sent when the server can be reached ([`agent`]), kept before they
//! are acknowledged ([`store`]), and counted once however often they are sent. The dashboard
//! shows a [`board`], which is a pure function of the events and the time.
//!
//! This crate must not know how a cluster is started, nor any engine: what it shows of a cluster
//! it is handed. Everything that comes from a student is hostile until it is escaped.
//!
//! Where the teacher hands out a bundle, the server offers it to the room and [`download`] fetches
//! it.
//!
//! Start reading at [`protocol`], then [`board`], then [`server`].

pub mod agent;
pub mod board;
pub mod course;
pub mod desk;
pub mod download;
pub mod outbox;
pub mod protocol;
pub mod secrets;
pub mod server;
pub mod store;

#[cfg(test)]
mod testing;
