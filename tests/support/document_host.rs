//! A host of client-id metadata documents and keys, which says what the test has it say.
#![allow(dead_code, reason = "each test target uses its own part")]
#![allow(clippy::unwrap_used, reason = "a double stops where it cannot go on")]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

/// The name its certificate is for, beside `claude.ai` and `localhost`.
pub const HOST: &str = "client.example";
pub const DOCUMENT_URL: &str = "https://client.example/client.json";

/// What the host says next.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub delay: Duration,
}

impl Reply {
    pub fn json(body: impl Into<String>) -> Self {
        Self::new(200, "application/json", body)
    }

    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
            delay: Duration::ZERO,
        }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

#[derive(Default)]
pub struct Seen {
    pub connections: usize,
    /// Heads of the requests, lower case.
    pub requests: Vec<String>,
}

/// A TLS host on loopback whose certificate is for [`HOST`] and `claude.ai`.
pub struct Host {
    pub address: SocketAddr,
    /// Its certificate, as PEM.
    pub root: Vec<u8>,
    /// By path; what is not in here gets the one of the empty path.
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    pub seen: Arc<Mutex<Seen>>,
}

impl Host {
    pub fn start(reply: Reply) -> Self {
        let names = vec![HOST.to_owned(), "claude.ai".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = Self {
            address: listener.local_addr().unwrap(),
            root: made.cert.pem().into_bytes(),
            replies: Arc::new(Mutex::new(HashMap::from([(String::new(), reply)]))),
            seen: Arc::default(),
        };
        let (replies, seen, config) = (Arc::clone(&host.replies), Arc::clone(&host.seen), Arc::new(config));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                seen.lock().unwrap().connections += 1;
                let (replies, seen, config) = (Arc::clone(&replies), Arc::clone(&seen), Arc::clone(&config));
                std::thread::spawn(move || serve(stream, &config, &replies, &seen));
            }
        });
        host
    }

    /// What it answers from now on, whatever is asked for.
    pub fn say(&self, reply: Reply) {
        self.say_at("", reply);
    }

    /// What it answers at one path.
    pub fn say_at(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }
}

fn serve(
    stream: TcpStream,
    config: &Arc<rustls::ServerConfig>,
    replies: &Mutex<HashMap<String, Reply>>,
    seen: &Mutex<Seen>,
) -> Option<()> {
    let mut tls = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(config)).ok()?, stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tls.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1)?.to_owned();
    seen.lock().unwrap().requests.push(head.to_ascii_lowercase());
    let reply = {
        let replies = replies.lock().unwrap();
        replies.get(&path).or_else(|| replies.get(""))?.clone()
    };
    #[expect(clippy::disallowed_methods, reason = "this host has a thread for each connection")]
    std::thread::sleep(reply.delay);
    write!(tls, "HTTP/1.1 {} X\r\nconnection: close\r\n", reply.status).ok()?;
    for (name, value) in &reply.headers {
        write!(tls, "{name}: {value}\r\n").ok()?;
    }
    write!(tls, "\r\n{}", reply.body).ok()?;
    tls.conn.send_close_notify();
    tls.flush().ok()
}

/// A document that passes.
pub fn document(url: &str, name: &str) -> String {
    json!({ "client_id": url, "client_name": name, "redirect_uris": ["https://client.example/callback"],
            "token_endpoint_auth_method": "none" })
    .to_string()
}
