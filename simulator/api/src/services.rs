//! Ports of Services.

/// First port that any user may open on Linux unless told otherwise.
const UNPRIVILEGED: u16 = 1024;
/// What is added to a port below that.
const OFFSET: u16 = 10_000;

/// The port of the same address at which a Service is reached besides, where its own may not be
/// opened: 10080 for 80, 10443 for 443. `None` for ports that anybody may open.
///
/// Clusters whose addresses are loopback ones need no privileges, but for ports below 1024 Linux
/// asks for some even there.
#[must_use]
pub fn stand_in_port(port: u16) -> Option<u16> {
    (port < UNPRIVILEGED).then_some(port + OFFSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_privileged_ports_have_a_stand_in() {
        assert_eq!(stand_in_port(80), Some(10_080));
        assert_eq!(stand_in_port(443), Some(10_443));
        assert_eq!(stand_in_port(8080), None);
    }
}
