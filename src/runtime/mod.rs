//! The running process: assembling the gateway, the listener, background work, signals.
//!
//! Owns the order in which things start and stop. Decides nothing about requests.

mod assemble;
mod background;
mod connection;
mod documents;
mod lifecycle;
mod listener;
mod metrics;
mod proxy_protocol;
mod quiet;
mod settings;
mod tls;

pub use assemble::{Assembly, StartError};
pub use background::follow_revocations;
pub use lifecycle::{ConfigSource, run};
pub use listener::{HEADER_READ, Listener};
pub use metrics::listener as metrics_listener;
pub use settings::{DevelopmentSettings, MetricsListen, Settings, TlsFiles};
