//! What is on this machine that settings may name.

use std::path::{Path, PathBuf};

use backup_core::component::postgres::connection::{Parameters, connect_first};
use backup_core::component::postgres::{databases, server};
use backup_core::context::Environment;
use backup_core::finding::Finding;
use backup_core::{Context, Error, Kind, Result};

/// Where a `cluster.conf` usually lies; a relative path counts from the working directory.
const CLUSTER_CONFS: [&str; 3] = ["/home/orchestrator/cluster.conf", "/etc/orchestrator/cluster.conf", "cluster.conf"];
/// Public keys in `~/.ssh` that age can encrypt to.
const KEYS: [&str; 2] = ["id_ed25519.pub", "id_rsa.pub"];
/// Where a key of age usually lies; a relative path counts from the home directory.
const IDENTITIES: [&str; 3] = ["/etc/orchestrator/orchestrator.key", "orchestrator.key", ".config/age/keys.txt"];
/// What stands before the recipient in a file of an identity that age or `key generate` made.
const RECIPIENT: &str = "# public key: ";
/// What jobs must be told that do not have this environment; of them none is secret.
const VARIABLES: [(&str, &str); 9] = [
    ("service", "PGSERVICE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("passfile", "PGPASSFILE"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("requirepeer", "PGREQUIREPEER"),
];

/// What was found.
pub(super) struct Machine {
    /// A `cluster.conf`.
    pub(super) cluster_conf: Option<PathBuf>,
    /// Public keys of SSH.
    pub(super) keys: Vec<PathBuf>,
    /// A file with an identity of age, and its recipient.
    pub(super) identity: Option<(PathBuf, String)>,
    /// A connection string; none if nothing but the usual is to be said.
    pub(super) connection: Option<String>,
    /// All that was found, in words.
    pub(super) findings: Vec<Finding>,
}

impl Machine {
    /// Looks at this machine; `connection` is what was given.
    ///
    /// # Errors
    /// [`Kind::Usage`] if the connection holds a password or can't be understood.
    pub(super) async fn look(connection: Option<&str>, context: &Context) -> Result<Self> {
        let environment = &context.environment;
        let connection = match connection {
            Some(given) => Some(without_password(given)?),
            None => of_environment(environment),
        };
        let cluster_conf = CLUSTER_CONFS.iter().map(PathBuf::from).find(|path| path.is_file());
        let ssh = environment.home.as_ref().map(|home| home.join(".ssh"));
        let keys = ssh.iter().flat_map(|ssh| KEYS.map(|key| ssh.join(key))).filter(|key| key.is_file()).collect();
        let identity =
            environment.home.as_ref().and_then(|home| IDENTITIES.iter().find_map(|file| identity(&home.join(file))));
        let mut machine = Self { cluster_conf, keys, identity, connection, findings: Vec::new() };
        machine.findings.extend(machine.cluster_conf.iter().map(|path| there("cluster-conf", path, "a cluster.conf")));
        let parameters = Parameters::resolve(machine.connection.as_deref().unwrap_or_default(), environment)?;
        machine.findings.extend(of_server(&parameters).await);
        let own = machine.identity.iter().map(|(path, _)| there("age-key", path, "an identity of age"));
        machine.findings.extend(own);
        machine
            .findings
            .extend(machine.keys.iter().map(|path| there("ssh-key", path, "a key that bundles can be encrypted to")));
        Ok(machine)
    }
}

/// The file and the recipient of an identity of age. The identity itself is not looked at.
fn identity(path: &Path) -> Option<(PathBuf, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let recipient = text.lines().find_map(|line| line.strip_prefix(RECIPIENT))?.trim().to_owned();
    Some((path.to_owned(), recipient))
}

fn there(code: &str, path: &Path, what: &str) -> Finding {
    Finding::ok(code, path.display().to_string(), format!("{what} is there"))
}

/// What a server says that answers.
async fn of_server(parameters: &Parameters) -> Vec<Finding> {
    let place = parameters.place();
    let asked = async {
        let (connection, _) = connect_first(parameters, &["postgres", "template1"]).await?;
        let facts = server(&connection).await?;
        let (databases, findings) = databases(&connection, &facts, &[]).await?;
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        let captured = if names.is_empty() {
            "it has no database to capture".into()
        } else {
            format!("databases {}", names.join(", "))
        };
        let answers = format!("PostgreSQL {} answers; {captured}", facts.version);
        Ok::<_, Error>([Finding::ok("postgres", &place, answers)].into_iter().chain(findings).collect())
    };
    asked.await.unwrap_or_else(|error| vec![Finding::warning_from_error("postgres", &place, &error)])
}

/// What the environment says of the connection, for jobs that do not have this environment.
fn of_environment(environment: &Environment) -> Option<String> {
    let said = VARIABLES.iter().filter_map(|(key, variable)| {
        let value = environment.get(variable).filter(|value| !value.is_empty())?;
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:,".contains(c));
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        Some(if plain { format!("{key}={value}") } else { format!("{key}='{escaped}'") })
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join(" "))
}

/// A connection string that may be written down.
fn without_password(text: &str) -> Result<String> {
    let parameters = Parameters::resolve(text, &Environment::default())?;
    if parameters.get("password").is_some() || parameters.get("sslpassword").is_some() {
        let error = Error::new(Kind::Usage, "write settings: --connection holds a password, which is never written");
        return Err(error.hint("put the password into ~/.pgpass, and leave it out of --connection"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_told_of_the_environment_and_of_no_password() {
        let told = |variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            of_environment(&Environment { variables, ..Environment::default() })
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[("PGPASSWORD", "hunter2"), ("PGHOST", "")]), None);
        let all = told(&[("PGHOST", "/run/pg"), ("PGPORT", "5433"), ("PGUSER", "o'x \\"), ("PGPASSWORD", "hunter2")]);
        assert_eq!(all.as_deref(), Some(r"host=/run/pg port=5433 user='o\'x \\'"));
        let read = Parameters::resolve(&all.unwrap_or_default(), &Environment::default()).expect("a connection");
        assert_eq!((read.get("user"), read.get("port")), (Some(r"o'x \"), Some("5433")));
        for secret in ["password=hunter2", "postgresql://o:hunter2@db/x"] {
            let error = without_password(secret).expect_err("a password");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        assert!(without_password("postgresql://o@db/x").is_ok());
    }
}
