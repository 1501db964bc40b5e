//! What the data path counts for each route. The counters are resolved when the configuration is loaded: a request
//! adds to atomics, and neither looks anything up nor allocates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::durations::Durations;

const METHODS: [&str; 4] = ["POST", "GET", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The class of a status, as labels have it.
pub(super) fn class(status: StatusCode) -> &'static str {
    CLASSES[class_index(status)]
}

fn class_index(status: StatusCode) -> usize {
    usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1
}

/// The counters of one route.
#[derive(Debug, Default)]
pub struct RouteMetrics {
    /// Answered requests, by [`METHODS`] and [`CLASSES`].
    answered: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    /// Requests that the gateway answered itself, by reason code. Off the hot path.
    refused: Mutex<BTreeMap<&'static str, u64>>,
    open_requests: AtomicU64,
    open_streams: AtomicU64,
    durations: Durations,
    first_bytes: Durations,
}

impl RouteMetrics {
    /// A request has come, at `now`.
    #[must_use]
    pub fn begin(self: &Arc<Self>, method: &Method, now: Instant) -> OpenRequest {
        let method = match *method {
            Method::POST => 0,
            Method::GET => 1,
            Method::DELETE => 2,
            _ => 3,
        };
        self.open_requests.fetch_add(1, Ordering::Relaxed);
        OpenRequest { route: Arc::clone(self), method, started: now, is_stream: false }
    }

    /// The gateway said no, or the upstream could not be reached.
    pub fn refused(&self, reason: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// The upstream's head came after this long.
    pub fn first_byte(&self, took: Duration) {
        self.first_bytes.observe(took);
    }
}

/// A request whose answer is not over. It goes with the body of the answer, and ends with it.
#[derive(Debug)]
pub struct OpenRequest {
    route: Arc<RouteMetrics>,
    method: usize,
    started: Instant,
    is_stream: bool,
}

impl OpenRequest {
    /// The head of the answer is known.
    pub fn answered(&self, status: StatusCode) {
        self.route.answered[self.method][class_index(status)].fetch_add(1, Ordering::Relaxed);
    }

    /// The answer is an event stream.
    pub fn streams(&mut self) {
        if !self.is_stream {
            self.is_stream = true;
            self.route.open_streams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        // How long a client listens says nothing of how fast anybody is.
        if METHODS[self.method] != "GET" {
            self.route.durations.observe(self.started.elapsed());
        }
        self.route.open_requests.fetch_sub(1, Ordering::Relaxed);
        if self.is_stream {
            self.route.open_streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The counters of all routes that somebody still holds, by operation id.
#[derive(Debug, Default)]
pub(super) struct Routes(Mutex<BTreeMap<String, Weak<RouteMetrics>>>);

impl Routes {
    pub fn of(&self, operation_id: &str) -> Arc<RouteMetrics> {
        let mut routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = routes.get(operation_id).and_then(Weak::upgrade) {
            return present;
        }
        routes.retain(|_, route| route.strong_count() > 0);
        let route = Arc::default();
        routes.insert(operation_id.to_owned(), Arc::downgrade(&route));
        route
    }

    fn all(&self) -> Vec<(String, Arc<RouteMetrics>)> {
        let routes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        routes.iter().filter_map(|(name, route)| Some((name.clone(), route.upgrade()?))).collect()
    }
}

impl Collector for Routes {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let routes = self.all();
        encode_answered(&routes, &mut encoder)?;
        encode_refused(&routes, &mut encoder)?;
        let help = "Requests of a route whose answer is not over";
        encode_gauge(&routes, &mut encoder, "doorward_mcp_open_requests", help, |route| &route.open_requests)?;
        let help = "Those that are answered with an event stream";
        encode_gauge(&routes, &mut encoder, "doorward_mcp_open_streams", help, |route| &route.open_streams)?;
        let help = "From the head of a request to the end of its answer, without GET streams";
        encode_durations(&routes, &mut encoder, "doorward_mcp_request_duration", help, |route| &route.durations)?;
        let help = "From the request sent up to the head of the upstream's answer";
        encode_durations(&routes, &mut encoder, "doorward_mcp_upstream_first_byte", help, |route| &route.first_bytes)
    }
}

type Listed = [(String, Arc<RouteMetrics>)];

/// Combinations that have not occurred are left out.
fn encode_answered(routes: &Listed, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Requests of a route that were answered";
    let mut encoder = encoder.encode_descriptor("doorward_mcp_requests", help, None, MetricType::Counter)?;
    for (name, route) in routes {
        for (method, classes) in METHODS.iter().zip(&route.answered) {
            for (class, count) in CLASSES.iter().zip(classes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("route", name.as_str()), ("method", method), ("status", class)];
                    encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
                }
            }
        }
    }
    Ok(())
}

fn encode_refused(routes: &Listed, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Those that the gateway answered itself";
    let mut encoder = encoder.encode_descriptor("doorward_mcp_refusals", help, None, MetricType::Counter)?;
    for (name, route) in routes {
        let refused = route.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (reason, count) in refused {
            let labels = [("route", name.as_str()), ("reason", reason)];
            encoder.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
    }
    Ok(())
}

fn encode_gauge(
    routes: &Listed,
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    of: impl Fn(&RouteMetrics) -> &AtomicU64,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (name, route) in routes {
        encoder.encode_family(&[("route", name.as_str())])?.encode_gauge(&of(route).load(Ordering::Relaxed))?;
    }
    Ok(())
}

fn encode_durations(
    routes: &Listed,
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    of: impl Fn(&RouteMetrics) -> &Durations,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (name, route) in routes {
        of(route).encode(encoder.encode_family(&[("route", name.as_str())])?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    // OPS-4
    #[test]
    fn a_reload_finds_the_counters_of_before_and_a_removed_route_takes_its_own_with_it() {
        let metrics = Metrics::default();
        let (kept, removed) = (metrics.route("kept"), metrics.route("removed"));
        kept.refused("token_expired");
        removed.refused("token_expired");
        let after = metrics.route("kept");
        drop((kept, removed));
        after.refused("token_expired");
        let text = metrics.to_text();
        assert!(text.contains(r#"doorward_mcp_refusals_total{route="kept",reason="token_expired"} 2"#), "{text}");
        assert!(!text.contains("removed"), "{text}");
    }

    // OPS-4
    #[test]
    fn a_request_is_open_until_it_is_dropped_and_falls_into_the_bucket_of_its_duration() {
        let metrics = Metrics::default();
        let route = metrics.route("one");
        let mut request = route.begin(&Method::POST, Instant::now());
        request.answered(StatusCode::OK);
        request.streams();
        route.first_byte(Duration::from_micros(2_500));
        route.first_byte(Duration::from_micros(2_501));
        route.first_byte(Duration::from_secs(86_400));
        let text = metrics.to_text();
        for line in [
            r#"doorward_mcp_requests_total{route="one",method="POST",status="2xx"} 1"#,
            r#"doorward_mcp_open_requests{route="one"} 1"#,
            r#"doorward_mcp_open_streams{route="one"} 1"#,
            r#"doorward_mcp_request_duration_seconds_count{route="one"} 0"#,
            r#"doorward_mcp_upstream_first_byte_seconds_bucket{le="0.0025",route="one"} 1"#,
            r#"doorward_mcp_upstream_first_byte_seconds_bucket{le="0.005",route="one"} 2"#,
            r#"doorward_mcp_upstream_first_byte_seconds_bucket{le="600.0",route="one"} 2"#,
            r#"doorward_mcp_upstream_first_byte_seconds_bucket{le="+Inf",route="one"} 3"#,
            r#"doorward_mcp_upstream_first_byte_seconds_sum{route="one"} 86400.005001"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(request);
        let text = metrics.to_text();
        for line in [
            r#"doorward_mcp_open_requests{route="one"} 0"#,
            r#"doorward_mcp_open_streams{route="one"} 0"#,
            r#"doorward_mcp_request_duration_seconds_count{route="one"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
