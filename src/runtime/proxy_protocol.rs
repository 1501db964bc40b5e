//! The PROXY protocol, versions 1 and 2: a load balancer that passes bytes on says first whose they are.
//!
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>. Owns where the header ends, never whether a peer may
//! send one.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::connection::LOOK_AGAIN;

/// Bytes of the longest header that is read. Version 1 has 107; the records that may follow the addresses in version 2
/// are some hundred, a certificate's name the longest of them.
const MAX_HEADER: usize = 4096;

/// Takes the header off a connection, and not a byte more. Gives the address of the connection's real origin, `None`
/// for one that the load balancer made itself, to look whether the gateway is alive.
///
/// # Errors
/// When the connection begins with something else, or ends before.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut seen = [0; MAX_HEADER];
    loop {
        let length = stream.peek(&mut seen).await?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse(&seen[..length]) {
            Ok((origin, header)) => {
                stream.read_exact(&mut seen[..header]).await?;
                return Ok(origin);
            }
            // Nobody wakes us for more as long as the first bytes are unread.
            Err(Error::BufferTooShort) if length < MAX_HEADER => tokio::time::sleep(LOOK_AGAIN).await,
            Err(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "no PROXY protocol header")),
        }
    }
}

/// The origin and the length of the header.
fn parse(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), Error> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (header, length) = ProxyHeader::parse(bytes, config)?;
    Ok((header.proxied_address().map(|address| address.source), length))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// Version 2, with a record after the addresses.
    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let record = [0x04, 0, 2, 0, 0];
        let length = u16::try_from(addresses.len() + record.len()).unwrap();
        let head = [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[command, family], &length.to_be_bytes()].concat();
        [head.as_slice(), addresses, &record].concat()
    }

    /// What follows the header; longer than any of version 1.
    const REST: [u8; 120] = [b'G'; 120];

    /// What is read of a connection that says `header`, byte by byte, and then more; with what is left of it.
    async fn read_of(header: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = TcpStream::connect(socket.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = socket.accept().await.unwrap();
        let said = [header, &REST].concat();
        let speaking = tokio::spawn(async move {
            for byte in said {
                peer.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        let origin = read(&mut stream).await;
        speaking.await.unwrap();
        let mut left = Vec::new();
        stream.read_to_end(&mut left).await.unwrap();
        (origin, left)
    }

    // DISC-12, LIM-6
    #[tokio::test]
    async fn both_versions_tell_the_origin_and_not_a_byte_more_is_taken() {
        let v4 = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];
        let v6 =
            [[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7].as_slice(), &[0; 16], &[0x12, 0x67, 1, 187]];
        for (header, origin) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n".to_vec(), Some("203.0.113.7:4711")),
            (b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(), Some("[2001:db8::7]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever stands here\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("203.0.113.7:4711")),
            (v2(0x21, 0x21, &v6.concat()), Some("[2001:db8::7]:4711")),
            // A health check of the load balancer's own.
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0x00, &[]), None),
        ] {
            let (read, left) = read_of(&header).await;
            assert_eq!(read.unwrap(), origin.map(|origin| origin.parse().unwrap()), "{header:?}");
            assert_eq!(left, REST, "{header:?}");
        }
    }

    // DISC-12, LIM-6
    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for header in [
            b"POST /mcp/one HTTP/1.1\r\nhost: x\r\n\r\n".as_slice(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n",
            b"PROXY TCP4 2001:db8::7 ::1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 70000 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443 x\r\n",
            b"PROXY UDP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x21, &[0; 12]),
            &v2(0x21, 0x11, &[0; 2]),
            &v2(0x21, 0x11, &[0; MAX_HEADER]),
        ] {
            assert!(read_of(header).await.0.is_err(), "{header:?}");
        }
    }
}
