//! The `Date` of responses whose backend gave none.

use std::cell::RefCell;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use super::Plane;

/// A date is exact to the second, so that is how long one is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

thread_local! {
    /// The line that was written last, and until when it is true.
    static LINE: RefCell<Option<(Instant, String)>> = const { RefCell::new(None) };
}

/// Writes the header. RFC 9110 §6.6.1 asks it of whoever passes a message on.
pub(super) fn put_date(plane: &Plane, out: &mut BytesMut) {
    let now = Instant::now();
    LINE.with_borrow_mut(|cached| match cached {
        Some((until, line)) if *until > now => out.extend_from_slice(line.as_bytes()),
        _ => {
            let date = plane.context.now().strftime("%a, %d %b %Y %H:%M:%S GMT");
            let line = format!("date: {date}\r\n");
            out.extend_from_slice(line.as_bytes());
            *cached = Some((now + GOOD_FOR, line));
        }
    });
}
