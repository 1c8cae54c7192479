//! The Chromium or Chrome that is installed: prints pages as PDF, and is driven by tests.
//!
//! Tests begin with [`Driver::open`], which says so and answers none where no browser is
//! installed (and fails where `CI=true`), and go on with a [`Page`]: its keys, its size, its theme,
//! what a script in it says, its picture. The browser is spoken to over a pipe, in its DevTools
//! protocol (<https://chromedevtools.github.io/devtools-protocol/>): no port, no WebSocket, and
//! it ends with the test.

mod driver;
mod print;

pub use driver::{Driver, Page};
pub use print::{BrowserError, NAMES, find, print};
