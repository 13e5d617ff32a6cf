//! Whether hosts answer: by ICMP where that is permitted, by a TCP connection to their SSH port in any case.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Seen;

/// Hosts that are waited for at the same time. Each takes a file, of which a process has 1,024 by default.
const AT_ONCE: usize = 512;
/// How long one host gets. A lost connection request is sent again after a second.
const DEADLINE: Duration = Duration::from_millis(1800);
/// How long a ping waits before it is sent again.
const PING: Duration = Duration::from_millis(550);

/// How a host answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The time that a ping took, where one came back.
    pub icmp: Option<Duration>,
    /// The address whose SSH port is open.
    pub ssh: Option<IpAddr>,
    /// Whether the SSH port refused the connection, which a dead host can't.
    pub refused: bool,
}

/// Sockets for pings, where they are permitted.
struct Pings {
    v4: Option<Client>,
    v6: Option<Client>,
}

impl Pings {
    fn new() -> Self {
        let client = |kind| Client::new(&Config::builder().kind(kind).build()).ok();
        Self { v4: client(ICMP::V4), v6: client(ICMP::V6) }
    }

    async fn ping(&self, address: IpAddr, number: u16) -> Option<Duration> {
        let client = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let mut pinger = client.as_ref()?.pinger(address, PingIdentifier(number)).await;
        pinger.timeout(PING);
        for sequence in 0..3 {
            match pinger.ping(PingSequence(sequence), b"orchestrator-cli").await {
                Ok((_, time)) => return Some(time),
                Err(surge_ping::SurgeError::Timeout { .. }) => {}
                Err(_) => return None,
            }
        }
        None
    }
}

pub(super) async fn probe(hosts: &[String], port: u16) -> Vec<Seen> {
    let pings = Pings::new();
    let pings = &pings;
    let numbered = hosts.iter().cloned().zip((0u16..=u16::MAX).cycle());
    let all = numbered.map(|(host, number)| look_at(host, port, number, pings));
    stream::iter(all).buffered(AT_ONCE).collect().await
}

async fn look_at(host: String, port: u16, number: u16, pings: &Pings) -> Seen {
    let mut seen = Seen { host, port, addresses: Vec::new(), answer: None, keys: Vec::new(), public_keys: Vec::new() };
    let Ok(Ok(found)) = timeout(DEADLINE, tokio::net::lookup_host((seen.host.as_str(), port))).await else {
        return seen;
    };
    seen.addresses = found.map(|address| address.ip()).collect();
    seen.addresses.dedup();
    for address in &seen.addresses {
        let ping = async { timeout(DEADLINE, pings.ping(*address, number)).await.ok().flatten() };
        let (icmp, tcp) = tokio::join!(ping, connect(SocketAddr::new(*address, port)));
        if icmp.is_some() || tcp != Tcp::Silent {
            let ssh = (tcp == Tcp::Open).then_some(*address);
            seen.answer = Some(Answer { icmp, ssh, refused: tcp == Tcp::Refused });
            break;
        }
    }
    seen
}

#[derive(PartialEq, Eq)]
enum Tcp {
    Open,
    Refused,
    Silent,
}

async fn connect(address: SocketAddr) -> Tcp {
    match timeout(DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Tcp::Open,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Tcp::Refused,
        _ => Tcp::Silent,
    }
}
