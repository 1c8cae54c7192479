//! Questions and answers: pure, from bytes to bytes.

use std::net::Ipv4Addr;

use lab_api::faults::DnsFailure;
use simple_dns::rdata::{A, CNAME, NS, OPT, PTR, RData, SOA, SRV};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE,
};

use crate::CLUSTER_DOMAIN;
use crate::zone::{Found, Records, Zone};

/// How long an answer may be kept, in seconds: CoreDNS' choice for a cluster's names.
const TTL: u32 = 5;
/// Most aliases that are followed from one to the next.
const MAX_ALIASES: usize = 8;
/// Largest UDP answer to a client that says nothing of larger ones, in bytes (RFC 1035).
const PLAIN_UDP: u16 = 512;
/// Largest UDP answer at all: beyond it lies fragmentation (DNS flag day 2020).
const LARGEST_UDP: u16 = 1232;
/// Length of a message's header, in bytes.
const HEADER: usize = 12;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: an answer that is too large is cut, and the client asks again by TCP.
    Udp,
    /// Over a connection.
    Tcp,
}

/// The answer to a question; `None` where silence is the answer. `turn` says which of several
/// addresses comes first.
#[must_use]
pub fn respond(zone: &Zone, query: &[u8], transport: Transport, turn: usize) -> Option<Vec<u8>> {
    let Ok(query) = Packet::parse(query) else {
        return malformed(query);
    };
    if query.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let mut answer = empty_answer(&query);
    if fill(zone, &query, &mut answer, turn).is_none() {
        tracing::trace!("a question is left unanswered on purpose");
        return None;
    }
    let bytes = answer.build_bytes_vec_compressed().ok()?;
    let room = match (transport, query.opt()) {
        (Transport::Tcp, _) => u16::MAX,
        (Transport::Udp, None) => PLAIN_UDP,
        (Transport::Udp, Some(edns)) => edns.udp_packet_size.clamp(PLAIN_UDP, LARGEST_UDP),
    };
    if bytes.len() <= usize::from(room) {
        return Some(bytes);
    }
    let mut cut = empty_answer(&query);
    cut.set_flags(PacketFlag::TRUNCATION | PacketFlag::AUTHORITATIVE_ANSWER);
    cut.build_bytes_vec_compressed().ok()
}

/// An answer that repeats the question and says nothing yet.
fn empty_answer(query: &Packet<'_>) -> Packet<'static> {
    let mut answer = Packet::new_reply(query.id());
    *answer.opcode_mut() = query.opcode();
    answer.set_flags(PacketFlag::RECURSION_AVAILABLE);
    for kept in [PacketFlag::RECURSION_DESIRED, PacketFlag::CHECKING_DISABLED] {
        if query.has_flags(kept) {
            answer.set_flags(kept);
        }
    }
    answer.questions = query
        .questions
        .iter()
        .map(|question| question.clone().into_owned())
        .collect();
    if query.opt().is_some() {
        *answer.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size: LARGEST_UDP,
            version: 0,
        });
    }
    answer
}

/// FORMERR for what at least has a question's header.
fn malformed(query: &[u8]) -> Option<Vec<u8>> {
    let header = query.get(..HEADER)?;
    let is_response = header[2] & 0x80 != 0;
    if is_response {
        return None;
    }
    let mut answer = Packet::new_reply(u16::from_be_bytes([header[0], header[1]]));
    *answer.rcode_mut() = RCODE::FormatError;
    answer.build_bytes_vec().ok()
}

/// `None` where nothing is to be said.
fn fill(zone: &Zone, query: &Packet<'_>, answer: &mut Packet<'static>, turn: usize) -> Option<()> {
    let mut refuse = |code| {
        *answer.rcode_mut() = code;
        Some(())
    };
    if query.opcode() != OPCODE::StandardQuery {
        return refuse(RCODE::NotImplemented);
    }
    if query.opt().is_some_and(|edns| edns.version > 0) {
        return refuse(RCODE::BADVERS);
    }
    let [question] = query.questions.as_slice() else {
        return refuse(RCODE::FormatError);
    };
    if question.qclass != QCLASS::CLASS(CLASS::IN) {
        return refuse(RCODE::Refused);
    }
    let name = text(&question.qname);
    if let Some(fault) = zone.fault().filter(|fault| fault.hits(&name)) {
        return match fault.failure {
            DnsFailure::ServFail => refuse(RCODE::ServerFailure),
            DnsFailure::NxDomain => refuse(RCODE::NameError),
            DnsFailure::Timeout => None,
        };
    }
    let mut look = Look {
        zone,
        answer,
        kind: question.qtype,
        turn,
    };
    look.follow(question.qname.clone().into_owned(), name);
    Some(())
}

/// One look-up, along its aliases.
struct Look<'a> {
    zone: &'a Zone,
    answer: &'a mut Packet<'static>,
    kind: QTYPE,
    turn: usize,
}

impl Look<'_> {
    fn follow(&mut self, mut owner: Name<'static>, mut name: String) {
        for _ in 0..MAX_ALIASES {
            match self.zone.find(&name) {
                Found::Outside => {
                    *self.answer.rcode_mut() = RCODE::NameError;
                    return;
                }
                Found::Nothing => {
                    self.answer.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
                    *self.answer.rcode_mut() = RCODE::NameError;
                    self.say_who_knows(&name);
                    return;
                }
                Found::Records(records) => {
                    self.answer.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
                    let Some(target) = self.alias(&records) else {
                        self.add(&owner, &name, &records);
                        return;
                    };
                    let Some(next) = parse(&target) else { return };
                    self.push(&owner, RData::CNAME(CNAME(next.clone())));
                    (owner, name) = (next, target);
                }
            }
        }
        // Aliases that lead in a circle lead nowhere.
        *self.answer.rcode_mut() = RCODE::ServerFailure;
    }

    /// Where to look on: nowhere when the alias itself was asked for.
    fn alias(&self, records: &Records) -> Option<String> {
        let itself = matches!(self.kind, QTYPE::ANY | QTYPE::TYPE(TYPE::CNAME));
        records.alias.clone().filter(|_| !itself)
    }

    fn add(&mut self, owner: &Name<'static>, name: &str, records: &Records) {
        let before = self.answer.answers.len();
        let kind = self.kind;
        let wants = |wanted: TYPE| kind == QTYPE::ANY || kind == QTYPE::TYPE(wanted);
        if wants(TYPE::A) {
            for address in turned(&records.addresses, self.turn) {
                self.push(owner, a(address));
            }
        }
        if wants(TYPE::SRV) {
            self.add_ports(owner, records);
        }
        if wants(TYPE::PTR) {
            for pointer in records.pointers.iter().filter_map(|name| parse(name)) {
                self.push(owner, RData::PTR(PTR(pointer)));
            }
        }
        if wants(TYPE::CNAME)
            && let Some(target) = records.alias.as_deref().and_then(parse)
        {
            self.push(owner, RData::CNAME(CNAME(target)));
        }
        if name == CLUSTER_DOMAIN && wants(TYPE::SOA) {
            self.answer.answers.extend(soa(self.zone.serial()));
        }
        if name == CLUSTER_DOMAIN
            && wants(TYPE::NS)
            && let Some(server) = parse(&name_server())
        {
            self.push(owner, RData::NS(NS(server)));
        }
        if self.answer.answers.len() == before {
            self.say_who_knows(name);
        }
    }

    /// Ports, and the addresses of who listens on them, so that the client need not ask again.
    fn add_ports(&mut self, owner: &Name<'static>, records: &Records) {
        let share = u16::try_from(100 / records.ports.len().max(1)).unwrap_or(1);
        let mut told = Vec::new();
        for srv in &records.ports {
            let Some(target) = parse(&srv.target) else {
                continue;
            };
            let data = SRV {
                priority: 0,
                weight: share.max(1),
                port: srv.port,
                target: target.clone(),
            };
            self.push(owner, RData::SRV(data));
            if told.contains(&&srv.target) {
                continue;
            }
            told.push(&srv.target);
            if let Found::Records(at) = self.zone.find(&srv.target) {
                let records = at
                    .addresses
                    .iter()
                    .map(|address| record(&target, a(*address)));
                self.answer.additional_records.extend(records);
            }
        }
    }

    /// The SOA of a negative answer, which says how long it may be kept (RFC 2308).
    fn say_who_knows(&mut self, name: &str) {
        if name != "localhost" && !name.ends_with(".localhost") {
            self.answer.name_servers.extend(soa(self.zone.serial()));
        }
    }

    fn push(&mut self, owner: &Name<'static>, data: RData<'static>) {
        self.answer.answers.push(record(owner, data));
    }
}

fn record(owner: &Name<'static>, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(owner.clone(), CLASS::IN, TTL, data)
}

fn a(address: Ipv4Addr) -> RData<'static> {
    RData::A(A {
        address: address.to_bits(),
    })
}

fn name_server() -> String {
    format!("ns.dns.{CLUSTER_DOMAIN}")
}

fn soa(serial: u32) -> Option<ResourceRecord<'static>> {
    let data = SOA {
        mname: parse(&name_server())?,
        rname: parse(&format!("hostmaster.{CLUSTER_DOMAIN}"))?,
        serial,
        refresh: 7200,
        retry: 1800,
        expire: 86_400,
        minimum: TTL,
    };
    Some(record(&parse(CLUSTER_DOMAIN)?, RData::SOA(data)))
}

/// The addresses with another first every time, so that clients spread over them.
fn turned(addresses: &[Ipv4Addr], turn: usize) -> impl Iterator<Item = Ipv4Addr> {
    let start = turn.checked_rem(addresses.len()).unwrap_or(0);
    let (before, after) = addresses.split_at(start);
    after.iter().chain(before).copied()
}

/// A name as the zone has it.
fn text(name: &Name<'_>) -> String {
    let labels: Vec<_> = name.as_bytes().map(String::from_utf8_lossy).collect();
    labels.join(".").to_lowercase()
}

fn parse(name: &str) -> Option<Name<'static>> {
    Name::new(name).ok().map(Name::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::sample;
    use simple_dns::Question;

    pub(super) fn question(name: &str, kind: TYPE) -> Packet<'static> {
        let mut packet = Packet::new_query(77);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        packet.questions.push(Question::new(
            parse(name).unwrap(),
            kind.into(),
            CLASS::IN.into(),
            false,
        ));
        packet
    }

    fn with_edns(
        mut packet: Packet<'static>,
        udp_packet_size: u16,
        version: u8,
    ) -> Packet<'static> {
        *packet.opt_mut() = Some(OPT {
            opt_codes: Vec::new(),
            udp_packet_size,
            version,
        });
        packet
    }

    fn reply(zone: &Zone, packet: &Packet<'_>, transport: Transport, turn: usize) -> Vec<u8> {
        let bytes = packet.build_bytes_vec().unwrap();
        respond(zone, &bytes, transport, turn).unwrap()
    }

    fn data(record: &ResourceRecord<'_>) -> String {
        match &record.rdata {
            RData::A(a) => Ipv4Addr::from_bits(a.address).to_string(),
            RData::CNAME(name) => format!("CNAME {}", name.0),
            RData::PTR(name) => format!("PTR {}", name.0),
            RData::NS(name) => format!("NS {}", name.0),
            RData::SRV(srv) => format!("SRV {} {}", srv.port, srv.target),
            RData::SOA(soa) => format!("SOA {}", soa.serial),
            other => format!("{other:?}"),
        }
    }

    /// `RCODE answer, answer; authority`.
    #[track_caller]
    fn case(name: &str, kind: TYPE, expected: &str) {
        let bytes = reply(&sample(None), &question(name, kind), Transport::Udp, 0);
        let answer = Packet::parse(&bytes).unwrap();
        assert_eq!(answer.id(), 77);
        assert!(answer.has_flags(
            PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE | PacketFlag::RECURSION_DESIRED
        ));
        let list = |records: &[ResourceRecord<'_>]| {
            let texts: Vec<_> = records.iter().map(data).collect();
            texts.join(", ")
        };
        let found = format!(
            "{:?} {}; {}",
            answer.rcode(),
            list(&answer.answers),
            list(&answer.name_servers)
        );
        assert_eq!(found.trim_end_matches([' ', ';']), expected, "{name}");
    }

    #[test]
    fn names_of_the_cluster_are_answered() {
        let hello = "NoError 10.96.0.7";
        case("hello.default.svc.cluster.local", TYPE::A, hello);
        case("HELLO.Default.svc.cluster.LOCAL", TYPE::A, hello);
        let nodata = "NoError ; SOA 7";
        case("hello.default.svc.cluster.local", TYPE::AAAA, nodata);
        case("empty.shop.svc.cluster.local", TYPE::A, nodata);
        let absent = "NameError ; SOA 7";
        case("nope.default.svc.cluster.local", TYPE::A, absent);
        case("9.9.9.9.in-addr.arpa", TYPE::PTR, absent);
        case("hello.default", TYPE::A, "NameError");
        case("example.com", TYPE::A, "NameError");
        case(
            "db.shop.svc.cluster.local",
            TYPE::A,
            "NoError 10.244.1.2, 10.244.1.3",
        );
        case(
            "_http._tcp.hello.default.svc.cluster.local",
            TYPE::SRV,
            "NoError SRV 80 hello.default.svc.cluster.local",
        );
        case(
            "7.0.96.10.in-addr.arpa",
            TYPE::PTR,
            "NoError PTR hello.default.svc.cluster.local",
        );
        case(
            "10-244-1-9.shop.pod.cluster.local",
            TYPE::A,
            "NoError 10.244.1.9",
        );
        case("localhost", TYPE::A, "NoError 127.0.0.1");
        case("cluster.local", TYPE::NS, "NoError NS ns.dns.cluster.local");
        case("cluster.local", TYPE::SOA, "NoError SOA 7");
    }

    #[test]
    fn aliases_are_followed_as_far_as_they_lead() {
        let away = "away.shop.svc.cluster.local";
        case(away, TYPE::A, "NameError CNAME example.com");
        case(away, TYPE::CNAME, "NoError CNAME example.com");
        case(
            "alias.shop.svc.cluster.local",
            TYPE::A,
            "NoError CNAME hello.default.svc.cluster.local, 10.96.0.7",
        );
        let circle = question("me.shop.svc.cluster.local", TYPE::A);
        let bytes = reply(&sample(None), &circle, Transport::Tcp, 0);
        assert_eq!(Packet::parse(&bytes).unwrap().rcode(), RCODE::ServerFailure);
    }

    #[test]
    fn a_port_brings_the_address_of_its_target_along() {
        let query = question("_sql._tcp.db.shop.svc.cluster.local", TYPE::SRV);
        let bytes = reply(&sample(None), &query, Transport::Udp, 0);
        let answer = Packet::parse(&bytes).unwrap();
        assert_eq!(answer.answers.len(), 2);
        assert_eq!(answer.additional_records.len(), 2);
    }

    #[test]
    fn several_addresses_take_turns_at_being_first() {
        let first = |turn| {
            let query = question("db.shop.svc.cluster.local", TYPE::A);
            let bytes = reply(&sample(None), &query, Transport::Udp, turn);
            data(&Packet::parse(&bytes).unwrap().answers[0])
        };
        assert_eq!(
            [first(0), first(1), first(2)],
            ["10.244.1.2", "10.244.1.3", "10.244.1.2"]
        );
    }

    #[test]
    fn what_is_no_question_gets_no_answer_and_a_bad_one_is_refused() {
        let zone = sample(None);
        let ask = |bytes: &[u8]| respond(&zone, bytes, Transport::Udp, 0);
        let code = |packet: &Packet<'_>| {
            let bytes = reply(&zone, packet, Transport::Udp, 0);
            Packet::parse(&bytes).unwrap().rcode()
        };
        assert_eq!(ask(b"short"), None);
        let mut response = question("hello", TYPE::A);
        response.set_flags(PacketFlag::RESPONSE);
        assert_eq!(ask(&response.build_bytes_vec().unwrap()), None);
        let mut garbled = question("hello", TYPE::A).build_bytes_vec().unwrap();
        garbled.truncate(14);
        let bytes = ask(&garbled).unwrap();
        let answer = Packet::parse(&bytes).unwrap();
        assert_eq!((answer.id(), answer.rcode()), (77, RCODE::FormatError));
        let mut update = question("hello", TYPE::A);
        *update.opcode_mut() = OPCODE::Update;
        assert_eq!(code(&update), RCODE::NotImplemented);
        assert_eq!(code(&Packet::new_query(1)), RCODE::FormatError);
        let future = with_edns(question("hello", TYPE::A), 1232, 9);
        assert_eq!(code(&future), RCODE::BADVERS);
        let mut chaos = question("hello", TYPE::A);
        chaos.questions[0].qclass = CLASS::CH.into();
        assert_eq!(code(&chaos), RCODE::Refused);
    }

    #[test]
    fn no_bytes_bring_it_down() {
        let zone = sample(None);
        let good = question("hello.default.svc.cluster.local", TYPE::A);
        let good = with_edns(good, 4096, 0).build_bytes_vec().unwrap();
        for at in 0..good.len() {
            let _ = respond(&zone, &good[..at], Transport::Udp, 0);
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                let _ = respond(&zone, &bad, Transport::Tcp, 0);
            }
        }
    }

    #[test]
    fn a_large_answer_is_cut_for_udp_unless_the_client_has_room() {
        let mut zone = Zone::new(1, None);
        let name = "big.default.svc.cluster.local";
        for last in 0..60 {
            zone.entry(name).addresses.push([10, 244, 0, last].into());
        }
        let count = |packet: &Packet<'_>, transport| {
            let bytes = reply(&zone, packet, transport, 0);
            let answer = Packet::parse(&bytes).unwrap();
            let cut = answer.has_flags(PacketFlag::TRUNCATION);
            (answer.answers.len(), cut)
        };
        let plain = question(name, TYPE::A);
        assert_eq!(count(&plain, Transport::Udp), (0, true));
        assert_eq!(count(&plain, Transport::Tcp), (60, false));
        let roomy = with_edns(plain, 4096, 0);
        assert_eq!(count(&roomy, Transport::Udp), (60, false));
    }

    #[test]
    fn a_broken_server_fails_as_it_was_told_to() {
        let query = question("hello.default.svc.cluster.local", TYPE::A);
        let query = query.build_bytes_vec().unwrap();
        let code = |fault| {
            let bytes = respond(&sample(Some(fault)), &query, Transport::Udp, 0)?;
            Some(Packet::parse(&bytes).unwrap().rcode())
        };
        assert_eq!(code("servfail"), Some(RCODE::ServerFailure));
        assert_eq!(code("nxdomain hello"), Some(RCODE::NameError));
        assert_eq!(code("nxdomain other"), Some(RCODE::NoError));
        assert_eq!(code("timeout"), None);
    }
}
