//! Ports for servers whose address must be known before they listen, or that come back to it.
//!
//! The system picks the port of an outgoing connection from a range of its own (on Linux 32768 and up). A port from
//! there that is free now may carry somebody's connection a moment later; these lie below.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A loopback port that nothing listens on, and that this process gets once.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    // Two processes at once begin in different places.
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let next = NEXT.get_or_init(|| AtomicU16::new(u16::try_from(start).unwrap_or_default()));
    (0..COUNT)
        .map(|_| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free loopback port")
}
