//! The part of the comparison that wrk cannot do: calls at a steady pace, and many open streams.
//!
//! ```text
//! pace calls PORT HOST TOKEN RATE SECONDS     latencies of calls at RATE a second, as JSON in microseconds
//! pace streams PORT HOST TOKEN COUNT          opens COUNT event streams, says so, and holds them until its input ends
//! pace upstream PORT                          an upstream whose streams say one event and then nothing
//! ```
//!
//! Every call has its own point in time, also when an earlier one is late: its latency counts from there, so that a
//! pause shows in every call it delayed.

#![allow(clippy::disallowed_methods, reason = "threads of its own, and no runtime")]

use std::env;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hello"}}}"#;
const EVENT: &str =
    "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{}}\n\n";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["calls", port, host, token, rate, seconds] => {
            calls(port.parse()?, &call(host, token), rate.parse()?, seconds.parse()?)
        }
        ["streams", port, host, token, count] => streams(port.parse()?, host, token, count.parse()?),
        ["upstream", port] => upstream(port.parse()?),
        _ => Err("pace calls|streams|upstream …".into()),
    }
}

fn call(host: &str, token: &str) -> String {
    format!(
        "POST /mcp/fixed HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n{CALL}",
        CALL.len()
    )
}

/// One thread a connection, enough of them that no call waits for another.
fn calls(port: u16, request: &str, rate: u32, seconds: u32) -> Outcome<()> {
    const CONNECTIONS: u32 = 8;
    let start = Instant::now() + Duration::from_millis(50);
    let gap = Duration::from_secs(1) / rate;
    let workers: Vec<_> = (0..CONNECTIONS)
        .map(|worker| {
            let request = request.to_owned();
            thread::spawn(move || -> Result<Vec<Duration>, String> {
                let mut connection = connect(port).map_err(|error| error.to_string())?;
                let mut latencies = Vec::new();
                for number in (worker..rate * seconds).step_by(CONNECTIONS as usize) {
                    let due = start + gap * number;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    exchange(&mut connection, &request).map_err(|error| error.to_string())?;
                    latencies.push(due.elapsed());
                }
                Ok(latencies)
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.join().map_err(|_| "a worker failed")??);
    }
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
    println!(r#"{{"calls": {}, "p50_us": {}, "p99_us": {}}}"#, latencies.len(), at(50), at(99));
    Ok(())
}

fn connect(port: u16) -> Outcome<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

fn exchange(connection: &mut BufReader<TcpStream>, request: &str) -> Outcome<()> {
    connection.get_mut().write_all(request.as_bytes())?;
    let (status, length) = head(connection)?;
    if status != 200 {
        return Err(format!("status {status}").into());
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok(())
}

/// Reads the head of an answer: its status and length.
fn head(connection: &mut BufReader<TcpStream>) -> Outcome<(u16, usize)> {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err("the connection ended".into());
        }
        match line.trim_end() {
            "" => return Ok((status, length)),
            text if status == 0 => status = text.split(' ').nth(1).ok_or("no status")?.parse()?,
            text => {
                if let Some((name, value)) = text.split_once(':')
                    && name.eq_ignore_ascii_case("content-length")
                {
                    length = value.trim().parse()?;
                }
            }
        }
    }
}

fn streams(port: u16, host: &str, token: &str, count: usize) -> Outcome<()> {
    let request = format!(
        "GET /mcp/streams HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
    );
    let mut open = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(request.as_bytes())?;
        // The head and the first event: the stream has passed all the way.
        let mut heard = Vec::new();
        let mut some = [0; 2048];
        while !heard.ends_with(b"\n\n") && !heard.ends_with(b"\n\n\r\n") {
            match stream.read(&mut some)? {
                0 => return Err(format!("stream {} ended: {}", open.len(), String::from_utf8_lossy(&heard)).into()),
                read => heard.extend_from_slice(&some[..read]),
            }
        }
        open.push(stream);
    }
    println!("open {}", open.len());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Answers every request with a stream; one small thread for all of them, and none of them ever ends.
fn upstream(port: u16) -> Outcome<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    let mut open = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut heard = Vec::new();
        let mut some = [0; 4096];
        while !heard.ends_with(b"\r\n\r\n") {
            match stream.read(&mut some)? {
                0 => break,
                read => heard.extend_from_slice(&some[..read]),
            }
        }
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{EVENT}\r\n",
            EVENT.len()
        )?;
        open.push(stream);
    }
    Ok(())
}
