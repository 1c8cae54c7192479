//! Slides: decks of Markdown, read and proved like the labs, shown from this program.
//!
//! ```text
//! decks/NN-slug/deck.yaml, en.md, fr.md
//!    │ parts (a text in its slides)      labs ─┐ (their titles and commands)
//!    ▼                                         ▼
//!  library ──▶ words (Markdown → HTML) ──▶ blocks (code, diagrams, commands of labs …)
//!    │
//!    ▼
//!  Deck ──▶ page ──▶ server (presenter and audience, in step by server-sent events)
//!                └─▶ export (one file of HTML; PDF by a browser)
//! ```
//!
//! Everything is rendered when a deck is read, so a fault is found then, with file and line. A
//! page's scripts only decide what is seen: which slide, how far into it, in which language.
//! Nothing on a page comes from elsewhere, and raw HTML of a deck is not passed through.
//!
//! This crate must not know how a cluster is reached, nor how a class is: both are handed to the
//! server ([`server::Surroundings`]).
//!
//! Start reading at [`deck`], then [`library`], then [`server`].

mod blocks;
pub mod deck;
mod diagram;
pub mod export;
pub mod highlight;
mod html;
pub mod library;
mod manifest;
mod page;
mod parts;
pub mod picture;
pub mod server;
mod words;
