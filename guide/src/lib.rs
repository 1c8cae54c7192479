//! The student's guide: a page on her own machine with the text of a lab, steps that tick
//! themselves off, and beside it the live picture of her cluster.
//!
//! ```text
//! cluster ══ watches ══▶ picture::Watcher ─▶ Picture ──┐
//!            metrics ──▶                               ├─▶ server ══ server-sent events ══▶ page
//! Tutor (checks, hints, answers) ─▶ lesson ────────────┘
//! ```
//!
//! A [`picture`] is a pure function of the objects that the API shows and of the measured rates;
//! whoever wants to show it elsewhere (slides, a dashboard) takes [`picture::Watcher`], serves it by
//! [`server::picture_routes`], and draws it with the script `picture.js` from [`assets`]. What a lab says is made into a page by [`lesson`], also
//! purely. Who learns, how steps are checked and how a cluster is found, this crate is told
//! through the traits [`tutor::Tutor`] and [`picture::Cluster`]; it must not know how a cluster
//! is started, nor any engine.
//!
//! Start reading at [`picture`], then [`lesson`], then [`server`].

pub mod assets;
pub mod lesson;
pub mod markdown;
pub mod picture;
pub mod server;
pub mod tutor;
