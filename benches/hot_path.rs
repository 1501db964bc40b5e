//! What a call costs through a whole gateway in this process: the listener, the check of the token, the proxy, the
//! upstream's connection, and back.
//!
//! `cargo bench --bench hot_path` prints microseconds per call: the median of ten runs, and the fastest. The client and the
//! upstream are in it, on the same thread.

#[path = "../bench/world.rs"]
mod world;

use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use world::{Outcome, World};

const CALLS: u32 = 5_000;
const RUNS: usize = 10;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{:<28} {:>12} {:>12}", "operation", "median µs", "fastest µs");
    for (name, routes, guarded) in
        [("a call, 1 route", 1, false), ("a call, 200 routes", 200, false), ("a call with a credential", 1, true)]
    {
        let mut world = runtime.block_on(World::start(routes, guarded))?;
        measure(name, || {
            runtime.block_on(async {
                for _ in 0..CALLS {
                    world.call().await?;
                }
                Ok(())
            })
        })?;
    }
    let (request, response) = (request_headers(), response_headers());
    measure("rewrite of the headers", || {
        for _ in 0..CALLS {
            let (mut request, mut response) = (request.clone(), response.clone());
            doorward::proxy::headers::strip_request(&mut request);
            doorward::proxy::headers::strip_response(&mut response);
            std::hint::black_box((request, response));
        }
        Ok(())
    })?;
    Ok(())
}

fn measure(name: &str, mut run: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let started = Instant::now();
        run()?;
        times.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    times.sort_by(f64::total_cmp);
    println!("{name:<28} {:>12.2} {:>12.2}", times[RUNS / 2], times[0]);
    Ok(())
}

fn request_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "gateway.example.com"),
        ("authorization", "Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("user-agent", "bench"),
        ("content-length", "98"),
        ("connection", "keep-alive"),
        ("x-forwarded-for", "203.0.113.7"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}

fn response_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "86"),
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("connection", "keep-alive"),
        ("server", "upstream"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
}
