//! Connections to an upstream: kept, given up, and never trusted with a request twice. The upstream speaks bytes.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// What an upstream does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Answer,
    /// Answers the head, and reads the body after it.
    AnswerEarly,
    /// Answers, and closes the connection without having said so.
    AnswerAndClose,
    /// Reads it, and closes.
    Close,
}

/// Connections that were opened, and bodies as they came: with the number of their connection.
#[derive(Default)]
struct Record {
    connections: usize,
    bodies: Vec<(usize, String)>,
}

struct Upstream {
    url: String,
    record: Arc<Mutex<Record>>,
}

impl Upstream {
    /// Takes its turns in the order of the requests, whatever connection they come over.
    async fn taking(turns: &'static [Turn]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let record = Arc::new(Mutex::new(Record::default()));
        let turns = Arc::new(Mutex::new(turns.iter().copied()));
        let seen = Arc::clone(&record);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = {
                    let mut record = seen.lock().unwrap();
                    record.connections += 1;
                    record.connections
                };
                let (turns, seen) = (Arc::clone(&turns), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(length) = head(&mut stream).await {
                        let turn = turns.lock().unwrap().next().unwrap_or(Turn::Answer);
                        if turn == Turn::AnswerEarly {
                            answer(stream.get_mut()).await;
                        }
                        let mut body = vec![0; length];
                        stream.read_exact(&mut body).await.unwrap();
                        seen.lock().unwrap().bodies.push((number, String::from_utf8(body).unwrap()));
                        if matches!(turn, Turn::Answer | Turn::AnswerAndClose) {
                            answer(stream.get_mut()).await;
                        }
                        if matches!(turn, Turn::Close | Turn::AnswerAndClose) {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, record }
    }

    fn connections(&self) -> usize {
        self.record.lock().unwrap().connections
    }

    fn bodies(&self) -> Vec<(usize, String)> {
        self.record.lock().unwrap().bodies.clone()
    }
}

/// Reads a head; its `Content-Length`, or `None` when the connection has ended.
async fn head(stream: &mut BufReader<impl AsyncRead + Unpin>) -> Option<usize> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            None if line.trim_end().is_empty() => return Some(length),
            _ => {}
        }
    }
}

async fn answer(stream: &mut TcpStream) {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
        .await
        .unwrap();
}

async fn status(world: &World, body: &str) -> u16 {
    let response = world.post(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    response.bytes().await.unwrap();
    status
}

// PROX-4, PROX-15
#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let upstream = Upstream::taking(&[]).await;
    let world = World::new(&upstream.url).await;
    for number in 0..20 {
        assert_eq!(status(&world, &number.to_string()).await, 200);
    }
    assert_eq!(upstream.connections(), 1);
    let bodies: Vec<String> = upstream.bodies().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

// PROX-8: what was closed while it was idle costs nobody a call.
#[tokio::test]
async fn a_connection_that_the_upstream_closed_meanwhile_is_not_used_again() {
    let upstream = Upstream::taking(&[Turn::AnswerAndClose, Turn::AnswerAndClose]).await;
    let world = World::new(&upstream.url).await;
    for (connections, body) in [(1, "a"), (2, "b"), (3, "c"), (3, "d")] {
        assert_eq!(status(&world, body).await, 200, "{body}");
        assert_eq!(upstream.connections(), connections, "{body}");
    }
    assert_eq!(upstream.bodies().len(), 4);
}

// PROX-8: a tool that ran may not run again.
#[tokio::test]
async fn a_request_that_may_have_arrived_is_never_sent_again() {
    for turns in [&[Turn::Answer, Turn::Close][..], &[Turn::Close]] {
        let upstream = Upstream::taking(turns).await;
        let world = World::new(&upstream.url).await;
        for _ in 1..turns.len() {
            assert_eq!(status(&world, "kept").await, 200);
        }
        assert_eq!(status(&world, "once").await, 502);
        let once = upstream.bodies().iter().filter(|(_, body)| body == "once").count();
        assert_eq!((once, upstream.connections()), (1, 1), "{turns:?}");
        assert_eq!(status(&world, "after").await, 200, "the next call is served");
    }
}

// CHAL-11, PROX-4: clients send head and body apart, and an upstream may answer in between.
#[tokio::test]
async fn an_answer_before_the_body_was_sent_leaves_both_connections_in_order() {
    let upstream = Upstream::taking(&[Turn::AnswerEarly; 3]).await;
    let world = World::new(&upstream.url).await;
    let token = world.token("one");
    let mut client = BufReader::new(TcpStream::connect(world.address).await.unwrap());
    for body in ["first", "second", "third"] {
        let head_of_it = format!(
            "POST /mcp/one HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
            world.address,
            body.len()
        );
        client.get_mut().write_all(head_of_it.as_bytes()).await.unwrap();
        let mut line = String::new();
        client.read_line(&mut line).await.unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n", "{body}");
        let length = head(&mut client).await.expect("a head");
        client.read_exact(&mut vec![0; length]).await.unwrap();
        client.get_mut().write_all(body.as_bytes()).await.unwrap();
    }
    while upstream.bodies().len() < 3 {
        tokio::task::yield_now().await;
    }
    let bodies: Vec<String> = upstream.bodies().into_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, ["first", "second", "third"]);
}
