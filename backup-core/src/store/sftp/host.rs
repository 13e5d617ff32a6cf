//! Whether a host is the one that it is said to be: what is known of its keys, and agreeing on keys with it.

use std::collections::VecDeque;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use ssh2::{CheckResult, ErrorCode, HashType, KnownHostFileKind, KnownHosts, MethodType, Session};

use super::line::Line;
use crate::context::Environment;
use crate::store::{SftpAddress, SftpOptions};
use crate::{Error, ErrorContext, Kind, Result, trusted};

/// The port of SSH.
const PORT: u16 = 22;
/// Where a machine that is up does not take a connection within this time, it won't.
const CONNECT: Duration = Duration::from_secs(10);
/// Kinds of host keys, those first that are preferred, and the algorithms that sign with each.
const HOST_KEYS: [(&str, &str); 5] = [
    ("ssh-ed25519", "ssh-ed25519"),
    ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
    ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384"),
    ("ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521"),
    ("ssh-rsa", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"),
];

/// A session with keys agreed on, and what it goes over.
pub(super) struct Shaken {
    pub(super) session: Session,
    pub(super) line: Line,
}

/// Why no keys were agreed on.
struct Refused {
    error: Error,
    /// Whether the server may have host keys of other kinds.
    of_this_kind: bool,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self { error, of_this_kind: false }
    }
}

/// A session with a host that shows a key which is known of it. What is known is asked for first: to fail to agree on keys looks
/// like an attack to some servers.
pub(super) fn known(
    address: &SftpAddress,
    options: &SftpOptions,
    environment: &Environment,
    answer: Duration,
) -> Result<Shaken> {
    let lines = KnownHostLines::read(options, environment)?;
    let known = lines.kinds_of(address)?;
    let all = HOST_KEYS.map(|(_, algorithms)| algorithms).join(",");
    let mut ask: VecDeque<String> = [known.join(","), all].into_iter().filter(|kinds| !kinds.is_empty()).collect();
    let (mut shown, mut changed, mut failed) = (None, None, None);
    while let Some(algorithms) = ask.pop_front() {
        match shake_hands(address, &algorithms, answer) {
            Ok(shaken) => match lines.check(&shaken.session, address)? {
                CheckResult::Match => return Ok(shaken),
                CheckResult::Mismatch if changed.is_none() => {
                    changed = Some(is_changed(&shaken.session, address));
                    // Of several keys that are known one may be old, and another one as it was.
                    let others = known.iter().filter(|algorithms| !is_of(&shaken.session, algorithms));
                    ask = others.map(|algorithms| (*algorithms).to_owned()).collect();
                }
                CheckResult::Mismatch => {}
                _ => shown = Some(fingerprint(&shaken.session)),
            },
            Err(Refused { error, of_this_kind: true }) => failed = Some(error),
            Err(Refused { error, .. }) => return Err(error),
        }
    }
    if let Some(changed) = changed {
        return Err(changed);
    }
    let Some(fingerprint) = shown else {
        return Err(failed.unwrap_or_else(|| Error::new(Kind::Failed, "the server shows no key")));
    };
    let SftpAddress { host, .. } = address;
    let port = address.port.unwrap_or(PORT);
    let error = Error::new(Kind::Refused, format!("the host's key is not known: {fingerprint}"));
    Err(error.hint(format!(
        "compare it with what the host itself says (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: \
         ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts"
    )))
}

fn is_changed(session: &Session, address: &SftpAddress) -> Error {
    let error = Error::new(Kind::Refused, format!("SSH host key changed: the host now shows {}", fingerprint(session)));
    let name = match address.port {
        Some(port) if port != PORT => format!("'[{}]:{port}'", address.host),
        _ => address.host.clone(),
    };
    error.hint(format!(
        "somebody may be in between: find out why it changed; only then `ssh-keygen -R {name}`, and make the new one known"
    ))
}

/// The key's digest as ssh prints it.
fn fingerprint(session: &Session) -> String {
    let digest = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest))
}

/// A session with keys agreed on, for a host key that signs with one of these algorithms.
fn shake_hands(address: &SftpAddress, algorithms: &str, answer: Duration) -> Result<Shaken, Refused> {
    let stream = reach(address, answer)?;
    let doing = || "agree on keys with the server".to_owned();
    let line = Line::over(stream).context(doing)?;
    let own = line.stream().context(doing)?;
    let start = || -> Result<Session, ssh2::Error> {
        let mut session = Session::new()?;
        session.set_timeout(milliseconds(answer));
        session.set_tcp_stream(own);
        session.method_pref(MethodType::HostKey, algorithms)?;
        session.handshake()?;
        Ok(session)
    };
    let session = start().map_err(|cause| Refused {
        // LIBSSH2_ERROR_KEX_FAILURE: nothing in common, or no more than a greeting.
        of_this_kind: cause.code() == ErrorCode::Session(-5),
        error: Error::new(Kind::Failed, doing()).because(cause),
    })?;
    Ok(Shaken { session, line })
}

/// Whether the host's key signs with these algorithms.
fn is_of(session: &Session, algorithms: &str) -> bool {
    let key = session.host_key().map(|(key, _)| key).unwrap_or_default();
    // Its kind stands at its beginning, after its length.
    HOST_KEYS
        .iter()
        .any(|(kind, own)| *own == algorithms && key.get(4..).is_some_and(|key| key.starts_with(kind.as_bytes())))
}

/// A time as libssh2 takes it, where 0 would be for ever.
pub(super) fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

fn reach(address: &SftpAddress, answer: Duration) -> Result<TcpStream> {
    let port = address.port.unwrap_or(PORT);
    let resolve = (address.host.as_str(), port).to_socket_addrs();
    let addresses = resolve.map_err(|cause| {
        Error::new(Kind::Failed, format!("find the address of {}", address.host))
            .because(cause)
            .hint("correct the name")
    })?;
    let mut failed = None;
    let stream = addresses.into_iter().find_map(|to| {
        TcpStream::connect_timeout(&to, CONNECT.min(answer)).map_err(|cause| failed = Some((to, cause))).ok()
    });
    stream.ok_or_else(|| {
        let error = Error::new(Kind::Failed, "open a connection");
        let error = match failed {
            Some((to, cause)) => error.because(format!("{to}: {cause}")),
            None => error,
        };
        error.hint("look whether the machine is up, and its SSH server runs on this port")
    })
}

/// Lines of all files of known hosts.
struct KnownHostLines(Vec<String>);

impl KnownHostLines {
    fn read(options: &SftpOptions, environment: &Environment) -> Result<Self> {
        let own = environment.home.as_ref().map(|home| home.join(".ssh/known_hosts"));
        let files = match &options.known_hosts {
            Some(file) => vec![file.clone()],
            None => {
                let usual = own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]);
                usual.filter(|file| file.exists()).collect()
            }
        };
        let mut lines = Vec::new();
        for file in files {
            let doing = || format!("read the known hosts {}", file.display());
            trusted::check(&file, doing)?;
            let text = std::fs::read(&file).context(doing)?;
            lines.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
        Ok(Self(lines))
    }

    /// The algorithms of keys that are known of a host, those first that are preferred.
    fn kinds_of(&self, address: &SftpAddress) -> Result<Vec<&'static str>> {
        let session = Session::new().context(|| "look at known hosts".into())?;
        let of_host: Vec<&str> = self.0.iter().filter_map(|line| kind_if_of(&session, line, address)).collect();
        Ok(HOST_KEYS.iter().filter(|(kind, _)| of_host.contains(kind)).map(|(_, algorithms)| *algorithms).collect())
    }

    fn check(&self, session: &Session, address: &SftpAddress) -> Result<CheckResult> {
        let (key, _) = session.host_key().ok_or_else(|| Error::new(Kind::Failed, "the server shows no key"))?;
        let mut known = session.known_hosts().context(|| "look at known hosts".into())?;
        for line in &self.0 {
            if line.trim_start().starts_with("@revoked") && holds(line, key) {
                let error = Error::new(Kind::Refused, format!("the host's key is revoked: {}", fingerprint(session)));
                return Err(error.hint("do not connect there until the host has another key that you have compared"));
            }
            // A line that libssh2 can't read, of a newer kind of key, must not hide the others.
            let _ = known.read_str(line, KnownHostFileKind::OpenSSH);
        }
        Ok(check(&known, address, key))
    }
}

/// The kind of a line's key, where the line is of this host.
fn kind_if_of<'l>(session: &Session, line: &'l str, address: &SftpAddress) -> Option<&'l str> {
    let mut words = line.split_whitespace().skip(1);
    let (kind, key) = (words.next()?, BASE64_STANDARD.decode(words.next()?).ok()?);
    let mut alone = session.known_hosts().ok()?;
    alone.read_str(line, KnownHostFileKind::OpenSSH).ok()?;
    matches!(check(&alone, address, &key), CheckResult::Match).then_some(kind)
}

fn check(known: &KnownHosts, address: &SftpAddress, key: &[u8]) -> CheckResult {
    known.check_port(&address.host, address.port.unwrap_or(PORT), key)
}

/// Whether a line of known hosts is of this key, for whatever host.
fn holds(line: &str, key: &[u8]) -> bool {
    let key = BASE64_STANDARD.encode(key);
    line.split_whitespace().any(|word| word == key)
}
