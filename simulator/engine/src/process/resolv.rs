//! A pod's own `/etc/resolv.conf`, as far as that goes without a container.
//!
//! Programs ask the machine's `/etc/resolv.conf` where names are resolved, and that file knows no
//! port. So other programs than the lab's own runtime (which reads `DEVOPS_LAB_DNS` and
//! `DEVOPS_LAB_DNS_SEARCH` from its environment) find Services by name only where both hold:
//!
//! - the cluster's DNS could open port 53 of its loopback address, which an ordinary user may do
//!   after `sysctl net.ipv4.ip_unprivileged_port_start=53`, and root always;
//! - the kernel lets this process have a mount namespace of its own: root always, an ordinary
//!   user where user namespaces are permitted (not in most containers, and not where AppArmor
//!   restricts them).
//!
//! Where one does not hold, the pod keeps the machine's file, and nothing is said: names then
//! resolve as they do for any program of the machine.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{getgid, getuid};
use rustix::thread::UnshareFlags;

use crate::SandboxConfig;

/// Name of the file in a container's directory.
pub(super) const FILE: &str = "resolv.conf";
/// What it is put in place of.
const TARGET: &str = "/etc/resolv.conf";
/// Port of DNS.
const PORT: u16 = 53;

/// The file's content; `None` where the pod keeps what its node has.
pub(super) fn text(config: &SandboxConfig) -> Option<String> {
    if config.dns_servers.is_empty() {
        return None;
    }
    let mut text = String::new();
    for server in &config.dns_servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !config.dns_search.is_empty() {
        text.push_str(&format!("search {}\n", config.dns_search.join(" ")));
    }
    if !config.dns_options.is_empty() {
        text.push_str(&format!("options {}\n", config.dns_options.join(" ")));
    }
    Some(text)
}

/// Lets this process, and what it becomes, see `file` as `/etc/resolv.conf`, where that is
/// possible and a server answers at the usual port. Must be called while there is one thread.
pub(super) fn put_in_place(file: &Path) {
    let sockets = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let text = fs::read_to_string(file).unwrap_or_default();
    if servers(&text).any(|server| listens(&sockets, server)) {
        // Not possible is not worth a word: see the module's own.
        let _ = mount(file);
    }
}

fn mount(file: &Path) -> io::Result<()> {
    let (user, group) = (getuid(), getgid());
    if user.is_root() {
        unshare(UnshareFlags::NEWNS)?;
    } else {
        unshare(UnshareFlags::NEWNS | UnshareFlags::NEWUSER)?;
        // The same user and group inside as outside, and no others.
        fs::write("/proc/self/setgroups", "deny")?;
        let (user, group) = (user.as_raw(), group.as_raw());
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    // What is mounted here must not appear on the machine.
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    Ok(mount_bind(file, TARGET)?)
}

#[expect(
    deprecated,
    reason = "its danger is in the flag FILES, which is not used here; unsafe code is forbidden"
)]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}

fn servers(text: &str) -> impl Iterator<Item = Ipv4Addr> {
    let words = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver "));
    words.filter_map(|word| match word.trim().parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        Ok(IpAddr::V6(_)) | Err(_) => None,
    })
}

/// Whether somebody has port 53 of this address, by `/proc/net/udp`; for an address that is not
/// this machine's, that is for others to say.
fn listens(sockets: &str, server: Ipv4Addr) -> bool {
    if !server.is_loopback() {
        return true;
    }
    // The kernel prints the address as a number in the machine's byte order.
    let number = u32::from_ne_bytes(server.octets());
    let place = format!("{number:08X}:{PORT:04X}");
    sockets
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some(place.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_says_servers_domains_and_options() {
        let config = SandboxConfig {
            dns_servers: vec!["127.9.128.10".parse().unwrap()],
            dns_search: vec!["default.svc.cluster.local".into(), "cluster.local".into()],
            dns_options: vec!["ndots:5".into()],
            ..SandboxConfig::default()
        };
        let expected = "nameserver 127.9.128.10\nsearch default.svc.cluster.local cluster.local\noptions ndots:5\n";
        let written = text(&config).unwrap();
        assert_eq!(written, expected);
        assert_eq!(
            servers(&written).collect::<Vec<_>>(),
            [Ipv4Addr::new(127, 9, 128, 10)]
        );
        assert_eq!(text(&SandboxConfig::default()), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_server_is_known_by_its_socket() {
        let sockets = "  sl  local_address rem_address\n 8: 0A80097F:0035 00000000:0000 07\n";
        assert!(listens(sockets, Ipv4Addr::new(127, 9, 128, 10)));
        assert!(!listens(sockets, Ipv4Addr::new(127, 8, 128, 10)));
        assert!(listens("", Ipv4Addr::new(10, 0, 0, 1)));
    }
}
