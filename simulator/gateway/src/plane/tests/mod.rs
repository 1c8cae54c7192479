//! The data plane over real sockets of the loopback network, with small backends.

mod failures;
mod http;
mod http1;
mod http2;
mod lab;
mod messages;
mod refusals;
mod tcp;
mod zero_loss;
