//! The picture of a cluster: its nodes with their pods, coloured by version and marked by state,
//! the load balancer with the shares of its traffic, its rates, and what happened, in plain words.
//!
//! [`Picture`] is what `/api/picture` answers and what the script `picture.js` draws:
//!
//! | member | what |
//! |---|---|
//! | `cluster` | `state`: `connecting`, `live`, `stopped`, `gone`, `unreachable`; where it is not `live`, `say` in words and the `command` that helps. What else the picture shows is then the last that was seen |
//! | `apps` | applications with their versions; a version's `slot` chooses its colour and letter and stays the same while it is watched |
//! | `nodes` | nodes with their `state` (`ready`, `cordoned`, `lost`) and pods (`waiting`, `starting`, `ready`, `unready`, `failing`, `ending`, `lost`, `done`) |
//! | `waiting` | pods that no node has taken |
//! | `listeners` | ports of the load balancer, what is routed to where by which weight, and the share that each version was measured to answer |
//! | `rates` | requests per second, share of errors, p50 and p95 in seconds, now and over the last minutes |
//! | `events` | what happened, the newest first, in both languages |
//!
//! Start reading at [`model`].

mod gateway;
pub mod model;
mod rates;
mod story;
mod versions;
mod watch;

pub use gateway::{Backend, Listener, Route, Share};
pub use model::{App, Node, Objects, Picture, Pod, PodState};
pub use rates::{Rates, Series};
pub use story::Told;
pub use versions::Versions;
pub use watch::{Absence, AbsenceKind, Cluster, Reached, Watcher};
