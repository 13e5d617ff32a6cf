//! A member of our own: it listens to nothing but sockets in its directory, and to nobody but whoever has the certificate that lies there.

use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::access::Access;
use super::answers::Member;
use super::behalf::Behalf;
use super::server::{Control, Server};
use crate::component::program::{self, Input, succeed};
use crate::{Error, ErrorContext, Kind, Result};

/// Where it listens: names of sockets in its working directory, as etcd makes them of such URLs.
const ENDPOINT: &str = "unixs://localhost:1";
const SOCKET: &str = "localhost:1";
const PEERS: &str = "unix://localhost:2";
/// What it calls itself, and where other members would find it.
pub(super) const NAME: &str = "throw-away";
pub(super) const PEER: &str = "http://localhost:2";
/// A certificate that signs itself and is shown by both sides. In a cluster with users whoever shows it is root: so data whose passwords
/// nobody here knows are compared, too.
const CERTIFICATE: &str = "[req]\ndistinguished_name = name\nx509_extensions = more\nprompt = no\n[name]\nCN = root\n\
    [more]\nsubjectAltName = DNS:localhost\nbasicConstraints = critical, CA:true\n";
/// The directory is somebody else's, who could put links there: nothing in it is written but as him.
const MAKE: &str = r#"printf %s "$0" >cert.cnf && exec openssl req -x509 -config cert.cnf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
    -nodes -days 30 -keyout key.pem -out cert.pem"#;
const SERVE: &str = r#"exec etcd "$@" 2>log"#;
/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of our own, which can be stopped and started.
pub(super) struct Own {
    directory: PathBuf,
    /// The name of its data in that directory.
    data: &'static str,
    behalf: Arc<Behalf>,
    child: Mutex<Option<Child>>,
}

impl Own {
    /// Prepares one in a directory, whose owner can write there.
    pub(super) async fn prepare(directory: PathBuf, data: &'static str, behalf: Arc<Behalf>) -> Result<Self> {
        let own = Self { directory, data, behalf, child: Mutex::default() };
        let mut openssl = own.command("sh");
        openssl.args(["-c", MAKE, CERTIFICATE]);
        let made = succeed(openssl, "make a certificate for a throw-away etcd", Input::Nothing).await;
        made.map_err(|error| error.hint("install openssl on this machine"))?;
        Ok(own)
    }

    /// It as a server.
    pub(super) fn server(self: &Arc<Self>) -> Server {
        let file = |name: &str| Some(PathBuf::from(name));
        let access = Access {
            endpoint: ENDPOINT.into(),
            cacert: file("cert.pem"),
            cert: file("cert.pem"),
            key: file("key.pem"),
            ..Access::default()
        };
        Server::new(access, self.directory.join(self.data), Control::Own(self.clone()))
    }

    /// As whom it runs.
    pub(super) fn behalf(&self) -> Arc<Behalf> {
        self.behalf.clone()
    }

    /// A program that runs as it does, in its directory.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.behalf.command(&self.directory);
        command.arg(program);
        command
    }

    /// Whether it listens.
    pub(super) fn listens(&self) -> bool {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).is_some() && self.directory.join(SOCKET).exists()
    }

    /// Starts it; it answers some time later.
    pub(super) fn start(&self) -> Result<()> {
        let doing = || "start etcd".to_owned();
        // What an earlier one has left that was killed.
        let _ = fs::remove_file(self.directory.join(SOCKET));
        let mut etcd = self.command("sh");
        etcd.args(["-c", SERVE, "etcd"]);
        let options = [
            ("name", NAME),
            ("data-dir", self.data),
            ("listen-client-urls", ENDPOINT),
            ("advertise-client-urls", "https://localhost:1"),
            ("listen-peer-urls", PEERS),
            ("initial-advertise-peer-urls", PEER),
            ("initial-cluster", &cluster()),
            ("cert-file", "cert.pem"),
            ("key-file", "key.pem"),
            ("trusted-ca-file", "cert.pem"),
            ("client-cert-auth", "true"),
            // It is alone: it need not wait for others.
            ("heartbeat-interval", "10"),
            ("election-timeout", "100"),
            ("enable-grpc-gateway", "false"),
            ("logger", "zap"),
            ("log-level", "error"),
        ];
        etcd.args(options.map(|(option, value)| format!("--{option}={value}")));
        etcd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(etcd.spawn().context(doing)?);
        Ok(())
    }

    /// Makes sure that it has not ended by itself.
    ///
    /// # Errors
    /// With the end of its log.
    pub(super) async fn check(&self) -> Result<()> {
        let ended = self.ended().context(|| "wait for etcd".into())?;
        let Some(status) = ended else { return Ok(()) };
        let mut log = self.command("tail");
        log.args(["-c", "2000", "log"]);
        let said = succeed(log, "read the log of etcd", Input::Nothing).await.map(|ran| ran.output).unwrap_or_default();
        Err(program::failed("start etcd", status, &String::from_utf8_lossy(&said)))
    }

    fn ended(&self) -> std::io::Result<Option<ExitStatus>> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(child.as_mut().map(Child::try_wait).transpose()?.flatten())
    }

    /// Ends it, if it runs, and waits until it has.
    pub(super) async fn stop(&self) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        let doing = || "stop the throw-away etcd".to_owned();
        if let Some(pid) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
            // What is begun behind walls passes a signal on, or ends with them.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::TERM);
        }
        match timeout(PATIENCE, child.wait()).await {
            Ok(ended) => ended.map(drop).context(doing),
            Err(_) => Err(Error::new(Kind::Failed, doing()).because("it does not end")),
        }
    }
}

/// All members of its cluster, as etcd wants them named.
fn cluster() -> String {
    format!("{NAME}={PEER}")
}

/// How data are restored that it is to serve.
pub(super) fn member() -> Member {
    Member { name: NAME.into(), peers: vec![PEER.into()] }
}
