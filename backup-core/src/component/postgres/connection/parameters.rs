//! All parameters of a connection, resolved in libpq's order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::{meaning, session};
use super::conninfo::{self, Pairs};
use super::keywords::{HARMLESS, VARIABLES, refuse_unknown};
use super::passfile::{self, Wanted};
use super::service;
use crate::cluster::secret::{Secret, is_secret};
use crate::context::Environment;
use crate::finding::Finding;
use crate::{Error, Kind, Result};

/// A user's name that stands in the connection string.
const SAID: &str = "the connection string";

/// Resolved parameters of a connection. `Debug` hides the password.
#[derive(Clone)]
pub struct Parameters {
    pairs: Pairs,
    home: Option<PathBuf>,
    /// Those of [`session::WHERE_KNOWN`] that the server takes, [`session::ROLE`] where the user has no other, and
    /// [`session::LANGUAGE`] where the user may set it; once that is known.
    known: Option<Vec<String>>,
    /// Settings of the sessions beside those of every one.
    settings: Vec<(String, String)>,
    /// Where the connection string stands, if it is said.
    place: Option<String>,
    /// Where the user's name comes from.
    user_from: &'static str,
}

impl std::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.pairs.iter().filter(|(key, _)| !is_secret(key));
        f.debug_map().entries(shown).finish()
    }
}

impl Parameters {
    /// Resolves `connection` (a connection string, possibly empty), the service it or `PGSERVICE` names, the
    /// environment, and libpq's defaults.
    ///
    /// # Errors
    /// A malformed string, an unknown service or parameter, a demand that this tool can't meet.
    pub fn resolve(connection: &str, environment: &Environment) -> Result<Self> {
        let mut pairs = conninfo::parse(connection)?;
        let said = pairs.contains_key("user");
        let service = pairs.remove("service").or_else(|| environment.get("PGSERVICE").map(Into::into));
        if let Some(service) = service {
            for (key, value) in service::look_up(&service, environment)? {
                pairs.entry(key).or_insert(value);
            }
        }
        for (key, variable) in VARIABLES {
            if let Some(value) = environment.get(variable) {
                pairs.entry(key.into()).or_insert_with(|| value.into());
            }
        }
        if pairs.remove("requiressl").as_deref() == Some("1") {
            pairs.entry("sslmode".into()).or_insert_with(|| "require".into());
        }
        let user_from = match (said, environment.get("PGUSER").is_some(), pairs.contains_key("user")) {
            (true, ..) => SAID,
            (_, _, false) => "the operating system, for nothing else says one",
            (_, true, _) => "PGUSER",
            _ => "the service",
        };
        refuse_unknown(&pairs)?;
        if let Some(options) = pairs.get_mut("options") {
            *options = meaning::without(options);
        }
        pairs.retain(|key, value| !value.is_empty() && !HARMLESS.contains(&key.as_str()));
        let mut default = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                pairs.entry(key.into()).or_insert(value);
            }
        };
        default("user", environment.user.clone());
        default("application_name", Some("orchestrator-cli".into()));
        default("sslmode", Some("prefer".into()));
        let home = environment.home.clone();
        Ok(Self { pairs, home, known: None, settings: Vec::new(), place: None, user_from })
    }

    /// A parameter that is set.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.get(key).map(String::as_str)
    }

    /// The same, of a connection string that stands in this place.
    pub fn said_by(mut self, place: &str) -> Self {
        self.place = Some(place.into());
        self
    }

    /// Where the connection string stands, if it is said.
    pub(super) fn said_in(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// Whether the connection string says the user's name, so that no variable does.
    pub(super) fn is_user_said(&self) -> bool {
        self.user_from == SAID
    }

    /// Where the user's name comes from.
    pub(super) fn user_from(&self) -> &str {
        match self.place.as_deref() {
            Some(place) if self.is_user_said() => place,
            _ => self.user_from,
        }
    }

    /// The same connection to another database.
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        other.pairs.insert("dbname".into(), name.into());
        other
    }

    /// The same connection with settings of its sessions, before which neither server nor database nor role come.
    pub(in super::super) fn with_settings<'s>(&self, settings: impl IntoIterator<Item = (&'s str, &'s str)>) -> Self {
        let mut other = self.clone();
        other.settings.extend(settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        other
    }

    /// The same connection, whose sessions' name ends so. PostgreSQL keeps 63 letters of a name, all of them ASCII.
    pub fn called(&self, ending: &str) -> Self {
        let mut other = self.clone();
        let name = self.get("application_name").unwrap_or("orchestrator-cli").chars().filter(char::is_ascii);
        let name: String = name.take(62usize.saturating_sub(ending.len())).collect();
        other.pairs.insert("application_name".into(), format!("{name} {ending}"));
        other
    }

    /// Notes which of those the server takes.
    pub(super) fn settle(&mut self, known: Vec<String>) {
        self.known = Some(known);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.known.is_some()
    }

    /// The options that a session begins with: the user's, and after them those that come first.
    pub(in super::super) fn options(&self) -> String {
        let known = self.known.iter().flatten();
        let role = known.clone().find(|known| *known == session::ROLE.0);
        // The user's options may name a role.
        let role = role.map_or_else(String::new, |_| session::option(session::ROLE.0, session::ROLE.1));
        let known = known.filter_map(|known| {
            session::WHERE_KNOWN.iter().chain([&session::LANGUAGE]).find(|(name, _)| name == known)
        });
        let fixed = session::ALWAYS.iter().chain(known).chain([&session::MARK]).copied();
        let more = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let options = fixed.chain(more).map(|(name, value)| session::option(name, value));
        format!("{role} {}{}", self.get("options").unwrap_or_default(), options.collect::<String>())
    }

    /// The same connection to the one host that answered, for all that must meet the same server.
    pub(super) fn pinned_to(&self, host: &Host) -> Self {
        let mut other = self.clone();
        for key in ["hostaddr", "target_session_attrs", "load_balance_hosts"] {
            other.pairs.remove(key);
        }
        other.pairs.insert("host".into(), host.name.clone());
        other.pairs.insert("port".into(), host.port.to_string());
        if let Some(address) = &host.address {
            other.pairs.insert("hostaddr".into(), address.clone());
        }
        other
    }

    /// The user that the connection is made as.
    pub fn user(&self) -> &str {
        self.get("user").unwrap_or_default()
    }

    /// Hosts with their ports: names, addresses, or directories of sockets.
    pub(super) fn hosts(&self) -> Result<Vec<Host>> {
        let list = |key| self.get(key).map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
        let addresses = list("hostaddr").unwrap_or_default();
        let names = list("host").unwrap_or_else(|| vec![String::new(); addresses.len().max(1)]);
        let ports = list("port").unwrap_or_else(|| vec![String::new()]);
        if (!addresses.is_empty() && addresses.len() != names.len()) || (ports.len() != 1 && ports.len() != names.len())
        {
            return Err(Error::new(
                Kind::Usage,
                "PostgreSQL connection: host, hostaddr and port list different numbers of hosts",
            ));
        }
        let mut hosts = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let port = ports.get(index).or(ports.first()).filter(|port| !port.is_empty());
            let port = port.map_or("5432", String::as_str);
            let port = port.trim().parse().map_err(|_| {
                // Never shown: an unescaped `/` in a password puts a part of it here.
                Error::new(Kind::Usage, "PostgreSQL connection: a port is no number")
                    .hint("in a URI write `/` in a password as %2F, `:` as %3A and `@` as %40")
            })?;
            let address = addresses.get(index).filter(|address| !address.is_empty()).cloned();
            let name = match &address {
                _ if !name.is_empty() => name.clone(),
                Some(address) => address.clone(),
                None => default_host(),
            };
            hosts.push(Host { name, address, port });
        }
        Ok(hosts)
    }

    /// Where the connection goes, for messages and the manifest.
    pub fn place(&self) -> String {
        let Ok(hosts) = self.hosts() else { return String::new() };
        let place = |host: &Host| format!("{}:{}", host.name, host.port);
        hosts.iter().map(place).collect::<Vec<_>>().join(",")
    }

    /// The password for a host: the one given, or the one in the password file.
    pub(super) fn password(&self, host: &Host) -> Result<Option<Secret>, Finding> {
        if let Some(password) = self.get("password") {
            return Ok(Some(Secret::new(password)));
        }
        let path = self.get("passfile").map(PathBuf::from).or_else(|| Some(self.home.as_ref()?.join(".pgpass")));
        let Some(path) = path else { return Ok(None) };
        let name = if host.is_default_socket() { "localhost" } else { &host.name };
        let wanted = Wanted {
            host: name,
            port: &host.port.to_string(),
            database: self.get("dbname").unwrap_or(self.user()),
            user: self.user(),
        };
        passfile::look_up(&path, &wanted)
    }

    /// A file beside the user's other certificates, if it exists: libpq looks in `~/.postgresql`.
    pub(super) fn default_file(&self, name: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(".postgresql").join(name)).filter(|path| path.exists())
    }

    /// The libpq variables that give a child process the same connection. Variables of ours that it does not name
    /// must be removed: a service or encoding would be applied a second time.
    pub fn variables(&self) -> BTreeMap<&'static str, String> {
        VARIABLES.iter().filter_map(|(key, variable)| Some((*variable, self.get(key)?.to_owned()))).collect()
    }

    /// The libpq variables that a child process must not inherit.
    pub fn removed_variables() -> impl Iterator<Item = &'static str> {
        let more = ["PGSERVICE", "PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO"];
        VARIABLES.into_iter().map(|(_, variable)| variable).chain(more)
    }
}

/// One host of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) address: Option<String>,
    pub(super) port: u16,
}

impl Host {
    /// Whether it is a directory that holds a Unix socket.
    pub(super) fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with('/')
    }

    fn is_default_socket(&self) -> bool {
        self.is_socket() && self.name == default_host()
    }
}

/// Debian's directory of sockets, or else the one that PostgreSQL is built with.
fn default_host() -> String {
    ["/var/run/postgresql", "/tmp"].into_iter().find(|dir| std::path::Path::new(dir).exists()).unwrap_or("/tmp").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Environment { variables, user: Some("ops".into()), ..Environment::default() }
    }

    #[test]
    fn string_comes_before_service_before_environment_before_default() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("services");
        std::fs::write(&file, "[main]\nhost=service\nport=1\nuser=service\n").expect("written");
        let environment = environment(&[
            ("PGSERVICEFILE", file.to_str().expect("a path")),
            ("PGSERVICE", "main"),
            ("PGPORT", "2"),
            ("PGDATABASE", "env"),
        ]);
        let resolved = Parameters::resolve("host=string", &environment).expect("resolved");
        let shown: Vec<_> =
            ["host", "port", "user", "dbname", "sslmode"].map(|key| resolved.get(key).unwrap_or_default()).into();
        assert_eq!(shown, ["string", "1", "service", "env", "prefer"]);
        assert_eq!(resolved.variables()["PGPORT"], "1");
    }

    #[test]
    fn hosts_pair_with_ports() {
        let hosts = |text: &str| Parameters::resolve(text, &environment(&[])).expect(text).hosts();
        let host = |name: &str, port| Host { name: name.into(), address: None, port };
        assert_eq!(hosts("host=a,b port=1,2").expect("hosts"), [host("a", 1), host("b", 2)]);
        assert_eq!(hosts("host=a,b port=7").expect("hosts"), [host("a", 7), host("b", 7)]);
        assert!(hosts("host=a,b,c port=1,2").is_err());
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_the_password_never_prints() {
        let resolve = |text: &str| Parameters::resolve(text, &environment(&[]));
        assert!(resolve("sslcrl=/x").is_err());
        assert!(resolve("gssencmode=require").is_err());
        let error = resolve("hots=a").expect_err("unknown");
        assert_eq!(error.first_hint(), Some("did you mean host?"));
        assert!(!format!("{:?}", resolve("password=hunter2").expect("resolved")).contains("hunter2"));
    }
}
