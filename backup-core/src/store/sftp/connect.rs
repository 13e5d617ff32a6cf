//! A connection by SSH: a host that is known, a user whom it lets in, a directory in which to work.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ssh2::{CheckResult, ErrorCode, HashType, KnownHostFileKind, MethodType, Session};

use crate::context::Environment;
use crate::store::{SftpAddress, SftpOptions};
use crate::{Error, ErrorContext, Kind, Result, trusted};

/// The port of SSH.
const PORT: u16 = 22;
/// Where a machine that is up does not take a connection within this time, it won't.
const CONNECT: Duration = Duration::from_secs(10);
/// Milliseconds that any answer may take.
pub(super) const ANSWER: u32 = 60_000;
/// Kinds of host keys. A server shows one of them, and it may be another one than is known of it, so each is asked for.
const HOST_KEYS: [&str; 3] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", "rsa-sha2-512,rsa-sha2-256,ssh-rsa"];
/// Keys that are tried where none is named, as ssh does it.
const OWN_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// A session that a server let in.
pub(super) struct Connection {
    pub(super) sftp: ssh2::Sftp,
    pub(super) session: Session,
    /// The directory of the address.
    pub(super) directory: PathBuf,
}

impl Connection {
    /// Connects, at most as long as [`CONNECT`] and [`ANSWER`] say.
    pub(super) fn open(address: &SftpAddress, options: &SftpOptions, environment: &Environment) -> Result<Self> {
        let doing = || format!("connect to {address}");
        let session = known(address, options, environment).context(doing)?;
        let user = address.user.as_deref().or(environment.user.as_deref()).unwrap_or("root");
        log_in(&session, user, options, environment).context(doing)?;
        let sftp = session.sftp().map_err(|cause| {
            Error::new(Kind::Failed, doing())
                .because(cause)
                .hint("let the server offer SFTP: Subsystem sftp in sshd_config")
        })?;
        let directory = match address.path.strip_prefix('~') {
            Some(below) => {
                let home = sftp.realpath(Path::new(".")).context(doing)?;
                home.join(below.trim_start_matches('/'))
            }
            None => PathBuf::from(&address.path),
        };
        Ok(Self { sftp, session, directory })
    }
}

/// A session with a host that shows a key which is known of it.
fn known(address: &SftpAddress, options: &SftpOptions, environment: &Environment) -> Result<Session> {
    let (mut shown, mut other, mut failed) = (None, None, None);
    for kinds in HOST_KEYS {
        match shake_hands(address, kinds) {
            Ok(session) => match check_host(&session, address, options, environment)? {
                CheckResult::Match => return Ok(session),
                // One of another kind may be the one that is known.
                CheckResult::Mismatch => other = other.or(Some(changed(&session, address))),
                _ => shown = shown.or(Some(fingerprint(&session))),
            },
            Err(error) if error.kind() == Kind::Unsupported => failed = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let Some(changed) = other {
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

fn changed(session: &Session, address: &SftpAddress) -> Error {
    let error = Error::new(
        Kind::Refused,
        format!("the host's key is another one than is known of it: {}", fingerprint(session)),
    );
    let name = match address.port {
        Some(port) => format!("'[{}]:{port}'", address.host),
        None => address.host.clone(),
    };
    error.hint(format!(
        "somebody may be in between: find out why it changed; only then `ssh-keygen -R {name}`, and make the new one known"
    ))
}

/// The key's digest as ssh prints it.
fn fingerprint(session: &Session) -> String {
    use base64::Engine as _;
    let digest = session.host_key_hash(HashType::Sha256).unwrap_or_default();
    format!("SHA256:{}", base64::prelude::BASE64_STANDARD_NO_PAD.encode(digest))
}

/// A session with keys agreed on; [`Kind::Unsupported`] where the server has no host key of these kinds.
fn shake_hands(address: &SftpAddress, kinds: &str) -> Result<Session> {
    let port = address.port.unwrap_or(PORT);
    let resolve = (address.host.as_str(), port).to_socket_addrs();
    let addresses = resolve.map_err(|cause| {
        Error::new(Kind::Failed, format!("find the address of {}", address.host))
            .because(cause)
            .hint("correct the name")
    })?;
    let mut failed = None;
    let stream = addresses
        .into_iter()
        .find_map(|to| TcpStream::connect_timeout(&to, CONNECT).map_err(|cause| failed = Some((to, cause))).ok());
    let Some(stream) = stream else {
        let error = Error::new(Kind::Failed, "open a connection");
        let error = match failed {
            Some((to, cause)) => error.because(format!("{to}: {cause}")),
            None => error,
        };
        return Err(error.hint("look whether the machine is up, and its SSH server runs on this port"));
    };
    let start = || -> Result<Session, ssh2::Error> {
        let mut session = Session::new()?;
        session.set_timeout(ANSWER);
        session.set_tcp_stream(stream);
        session.method_pref(MethodType::HostKey, kinds)?;
        session.handshake()?;
        Ok(session)
    };
    start().map_err(|cause| {
        // LIBSSH2_ERROR_KEX_FAILURE: nothing in common.
        let kind = if cause.code() == ErrorCode::Session(-5) { Kind::Unsupported } else { Kind::Failed };
        Error::new(kind, "agree on keys with the server").because(cause)
    })
}

fn check_host(
    session: &Session,
    address: &SftpAddress,
    options: &SftpOptions,
    environment: &Environment,
) -> Result<CheckResult> {
    let (key, _) = session.host_key().ok_or_else(|| Error::new(Kind::Failed, "the server shows no key"))?;
    let mut known = session.known_hosts().context(|| "look at known hosts".into())?;
    let own = environment.home.as_ref().map(|home| home.join(".ssh/known_hosts"));
    let files = match &options.known_hosts {
        Some(file) => vec![file.clone()],
        None => {
            own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).filter(|file| file.exists()).collect()
        }
    };
    for file in files {
        let doing = || format!("read the known hosts {}", file.display());
        trusted::check(&file, doing)?;
        let text = std::fs::read(&file).context(doing)?;
        // A line that libssh2 can't read, of a newer kind of key, must not hide the others.
        for line in String::from_utf8_lossy(&text).lines() {
            if line.starts_with("@revoked") && holds(line, key) {
                let error = Error::new(Kind::Refused, format!("the host's key is revoked: {}", fingerprint(session)));
                return Err(error.hint("do not connect there until the host has another key that you have compared"));
            }
            let _ = known.read_str(line, KnownHostFileKind::OpenSSH);
        }
    }
    Ok(known.check_port(&address.host, address.port.unwrap_or(PORT), key))
}

/// Whether a line of known hosts is of this key, for whatever host.
fn holds(line: &str, key: &[u8]) -> bool {
    use base64::Engine as _;
    let key = base64::prelude::BASE64_STANDARD.encode(key);
    line.split_whitespace().any(|word| word == key)
}

/// Logs in with the key that is named, or those of an agent, or one's own.
fn log_in(session: &Session, user: &str, options: &SftpOptions, environment: &Environment) -> Result<()> {
    let mut tried = Vec::new();
    if let Some(file) = options.identity_file.as_ref().filter(|file| !file.exists()) {
        let error = Error::new(Kind::NotFound, format!("log in as {user} with {}: no such file", file.display()));
        return Err(error.hint("correct sftp.identity_file in the settings"));
    }
    if let Some(file) = &options.identity_file {
        if let Err(error) = with_file(session, user, file) {
            tried.push(error);
        }
    } else {
        if environment.get("SSH_AUTH_SOCK").is_some() {
            match with_agent(session, user) {
                Ok(true) => return Ok(()),
                Ok(false) => tried.push("none of the agent's keys is let in".into()),
                Err(cause) => tried.push(format!("the agent: {}", cause.message())),
            }
        }
        let home = environment.home.as_ref().map(|home| home.join(".ssh"));
        let files = home.iter().flat_map(|home| OWN_KEYS.map(|name| home.join(name))).filter(|file| file.exists());
        for file in files {
            match with_file(session, user, &file) {
                Ok(()) => return Ok(()),
                Err(error) => tried.push(error),
            }
        }
    }
    if session.authenticated() {
        return Ok(());
    }
    let tried = if tried.is_empty() { "there is no key".into() } else { tried.join("; ") };
    let error = Error::new(Kind::Failed, format!("log in as {user}")).because(tried);
    Err(error.hint(
        "put the public key into the other side's ~/.ssh/authorized_keys; a key with a passphrase goes into an agent: ssh-add",
    ))
}

/// Tries the keys of an agent, one after the other.
fn with_agent(session: &Session, user: &str) -> Result<bool, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    Ok(agent.identities()?.iter().any(|key| agent.userauth(user, key).is_ok()))
}

fn with_file(session: &Session, user: &str, file: &Path) -> Result<(), String> {
    let shown = file.display();
    if !file.exists() {
        return Err(format!("{shown}: no such file"));
    }
    session.userauth_pubkey_file(user, None, file, None).map_err(|cause| format!("{shown}: {}", cause.message()))
}
