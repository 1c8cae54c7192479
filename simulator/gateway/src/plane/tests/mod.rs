//! The data plane over real sockets of the loopback network, with small backends.

mod failures;
mod http;
mod lab;
mod messages;
mod tcp;
