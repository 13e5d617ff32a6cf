//! Settings: a database has its own before anything is in it, as what checks, views and computed columns say depends on
//! them. What the server does not take is left out and said beforehand.

use super::Target;
use super::statements::{self, Creation, deed, renamed};
use crate::bundle::manifest::postgres::Database;
use crate::cluster::secret::{HIDDEN, is_secret, may_hold_a_secret};
use crate::component::postgres::connection::{Connection, connect};
use crate::component::postgres::{command, meaning, query_failed, session, sql};
use crate::finding::{Finding, Severity};
use crate::{Error, ErrorContext, Kind, Result};

/// Settings of libraries that are loaded when a session begins: one that is missing ends it.
const PRELOADED: [&str; 2] = ["session_preload_libraries", "local_preload_libraries"];
/// What the server answers to a setting that it does not know or take: unknown, reserved, a value that is none of it, one
/// that only the server itself has.
const NOT_TAKEN: [&str; 4] = ["42704", "42602", "22023", "55P02"];
/// What begins the line that says how a statement went.
const ANSWER: &str = "answer: ";

/// What is done with the settings' statements.
#[derive(Clone, Copy)]
enum Run<'d> {
    /// They are run, for the database that has this name now.
    In(&'d str),
    /// They are tried on the administrative database and taken back.
    Try,
}

/// A setting that the server does not take: the statement, and why.
pub(super) struct NotTaken {
    statement: String,
    why: String,
}

impl NotTaken {
    fn new(statement: &[u8], why: &str) -> Self {
        let statement = String::from_utf8_lossy(statement).into_owned();
        let setting = String::from_utf8_lossy(deed(statement.as_bytes())).into_owned();
        Self::of(statement, &setting, why)
    }

    /// A statement, and what it sets: ` SET name TO value`. Neither shows the value of what may be a secret.
    pub(super) fn of(statement: String, setting: &str, why: &str) -> Self {
        let (name, value) = setting.split_once(" TO ").unwrap_or((setting, ""));
        if is_secret(name) || may_hold_a_secret(value) {
            return Self { statement: statement.replacen(value, HIDDEN, 1), why: name.trim().into() };
        }
        Self { statement, why: why.into() }
    }

    /// Whether the server's answer with this code is that it does not take a setting.
    pub(super) fn is_of(code: &str) -> bool {
        NOT_TAKEN.contains(&code)
    }

    /// The finding that it amounts to, of the database that is to be called `name`, or of a role.
    pub(super) fn finding(self, name: &str) -> Finding {
        let message = format!("the server does not take a setting of it, which is left out: {}", self.why);
        let hint = format!("once the server has what it lacks: {}", self.statement);
        Finding::warning("setting-not-taken", name, message).hint(hint)
    }
}

impl Target {
    /// Gives the database `shadow`, which is to be called `name`, its settings; those that the server does not take are said.
    ///
    /// # Errors
    /// The server's or psql's words.
    pub(super) async fn set_settings(&self, shadow: &str, name: &str, creation: &Creation) -> Result<Vec<Finding>> {
        let not_taken = self.run_settings(creation, name, Run::In(shadow)).await?;
        Ok(not_taken.into_iter().map(|setting| setting.finding(name)).collect())
    }

    /// What of a database's settings the server does not take, and what else its values will mean there.
    ///
    /// # Errors
    /// A failed query.
    pub async fn setting_findings(&self, name: &str, database: &Database, create: &[u8]) -> Result<Vec<Finding>> {
        if !self.may_try().await? {
            return Ok(Vec::new());
        }
        let building = self.building(database).await?;
        let creation = statements::creation(create)?;
        let not_taken = building.run_settings(&creation, name, Run::Try).await?;
        let mut findings: Vec<Finding> = not_taken.into_iter().map(|setting| setting.finding(name)).collect();
        findings.extend(self.difference(name, database).await?);
        Ok(findings)
    }

    /// Whether settings can be tried. Who can't restore there at all is told so elsewhere.
    pub(super) async fn may_try(&self) -> Result<bool> {
        let can = "SELECT pg_catalog.current_setting('is_superuser') = 'on' AND NOT pg_catalog.pg_is_in_recovery()";
        let row = self.administer().await?.query_one(can, &[]).await;
        Ok(row.map_err(|error| query_failed("ask the server who we are", &error))?.get(0))
    }

    /// The same server for sessions that no setting of a database stands in the way of.
    pub(super) fn freed(&self) -> Self {
        Self { parameters: self.parameters.with_settings(session::BUILDING), ..self.clone() }
    }

    /// The same server for sessions that build `database`: nothing stops them, and they have what its sessions had by the
    /// source's server, as far as this one takes it.
    ///
    /// # Errors
    /// A failed query.
    pub async fn building(&self, database: &Database) -> Result<Self> {
        let mut building = self.freed();
        let Some(wanted) = &database.session else { return Ok(building) };
        let connection = building.connect(self.administrative()).await?;
        let here = meaning::session(&connection).await?;
        for (name, value) in wanted.iter().filter(|(name, value)| here.get(*name) != Some(value)) {
            if takes(&connection, name, value).await? {
                building.parameters = building.parameters.with_settings([(name.as_str(), value.as_str())]);
            }
        }
        Ok(building)
    }

    /// The same server for sessions that read what a bundle holds of `database`: amounts of money as they are written there.
    pub(super) fn reading(&self, database: &Database) -> Self {
        let mut reading = self.clone();
        if let Some(locale) = money_locale(database) {
            reading.parameters = self.parameters.with_settings([(session::MONEY.0, locale)]);
        }
        reading
    }

    /// Runs the settings' statements of the database that is to be called `name` one by one; returns those that were not taken.
    async fn run_settings(&self, creation: &Creation, name: &str, run: Run<'_>) -> Result<Vec<NotTaken>> {
        let doing = || format!("set the settings of database {name}");
        let (mut not_taken, mut tried) = (Vec::new(), Vec::new());
        for setting in &creation.settings {
            let whole = renamed(setting, &sql::identifier(name))?;
            let statement = match run {
                Run::In(shadow) => renamed(setting, &sql::identifier(shadow))?,
                // Its role may not be there yet.
                Run::Try => {
                    let database = sql::identifier(self.administrative());
                    [b"ALTER DATABASE ", database.as_bytes(), deed(setting)].concat()
                }
            };
            match self.preload_problem(&statement).await {
                Some(why) => not_taken.push(NotTaken::new(&whole, &why)),
                None => tried.push((whole, statement)),
            }
        }
        if tried.is_empty() {
            return Ok(not_taken);
        }
        let [before, after] = match run {
            Run::In(_) => [&b""[..], b""],
            Run::Try => [&b"BEGIN;\n"[..], b"ROLLBACK;\n"],
        };
        let fence = self.fence();
        let (begin, end) = (fence.begin(), fence.end());
        let mut script = creation.before.join(&b'\n');
        script.push(b'\n');
        for (_, statement) in &tried {
            let statement = [begin.as_bytes(), statement].concat();
            let answer = format!("\n{end}\\echo '{ANSWER}':SQLSTATE :LAST_ERROR_MESSAGE\n");
            script.extend([before, &statement, answer.as_bytes(), after].concat());
        }
        let mut psql = self.psql(&self.parameters);
        psql.arg("--set=ON_ERROR_STOP=0");
        let ran = command::run(psql, "run them with psql", Some(&script)).await.context(doing)?;
        let said = String::from_utf8_lossy(&ran.output);
        let answers: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix(ANSWER)).collect();
        if answers.len() != tried.len() {
            return Err(Error::new(Kind::Failed, "psql did not run all of them")).context(doing);
        }
        for ((whole, _), answer) in tried.iter().zip(answers) {
            let (state, why) = answer.split_once(' ').unwrap_or((answer, ""));
            match state {
                "00000" => {}
                state if NOT_TAKEN.contains(&state) => not_taken.push(NotTaken::new(whole, why)),
                _ => return Err(Error::new(Kind::Failed, why)).context(doing),
            }
        }
        Ok(not_taken)
    }

    /// Why no session could begin with the libraries that a statement names.
    pub(super) async fn preload_problem(&self, statement: &[u8]) -> Option<String> {
        let statement = String::from_utf8_lossy(statement);
        let setting = deed(statement.as_bytes());
        let name = PRELOADED.into_iter().find(|name| setting.starts_with(format!(" SET {name} TO ").as_bytes()))?;
        // `'one', 'two'`: what stands in quotes, and not between them.
        let setting = String::from_utf8_lossy(setting);
        let libraries: Vec<&str> = setting.split('\'').skip(1).step_by(2).collect();
        let parameters = self.parameters.with_settings([(name, libraries.join(",").as_str())]);
        connect(&parameters.with_database(self.administrative())).await.err().map(|error| error.chain().join(": "))
    }

    /// What sessions of the restored database have otherwise than those of the source, by the servers' own settings.
    async fn difference(&self, name: &str, database: &Database) -> Result<Option<Finding>> {
        // Not one that began before settings were changed.
        let connection = self.connect(self.administrative()).await?;
        let Some(wanted) = &database.session else { return old_money(&connection, name, database).await };
        let here = meaning::session(&connection).await?;
        let own =
            |name: &str| database.settings.iter().any(|own| own.role.is_none() && own.name.eq_ignore_ascii_case(name));
        let differs: Vec<(&String, &String, &String)> = wanted
            .iter()
            .filter(|(setting, _)| !own(setting))
            .filter_map(|(setting, value)| here.get(setting).map(|here| (setting, value, here)))
            .filter(|(_, value, here)| value != here)
            .collect();
        if differs.is_empty() {
            return Ok(None);
        }
        let told = differs.iter().map(|(setting, value, here)| format!("{setting} = {value}, here {here}"));
        let message = format!(
            "by its server's settings its sessions had {}: times, amounts and texts may read otherwise than they did",
            told.collect::<Vec<_>>().join("; ")
        );
        let statement = |(setting, value, _): &(&String, &String, &String)| {
            format!("ALTER DATABASE {} SET {setting} = {}", sql::identifier(name), sql::literal(value))
        };
        let hint = format!("to have it as it was, after the restore: {}", {
            differs.iter().map(statement).collect::<Vec<_>>().join("; ")
        });
        // What few ask for, and what nothing is of.
        let matters = |setting: &str| match setting {
            "lc_numeric" | "lc_time" => false,
            "lc_monetary" => database.money,
            _ => true,
        };
        let severity =
            if differs.iter().any(|(setting, ..)| matters(setting)) { Severity::Warning } else { Severity::Info };
        Ok(Some(Finding::new(severity, "sessions-differ", name, message).hint(hint)))
    }
}

/// The locale that amounts of money are written by in a bundle; none where nothing tells it.
pub(crate) fn money_locale(database: &Database) -> Option<&str> {
    if database.session.is_some() {
        return Some(session::MONEY.1);
    }
    // Bundles of versions before have them as the database's sessions wrote them.
    let own = database.settings.iter().find(|own| own.role.is_none() && own.name == session::MONEY.0);
    own.map(|own| own.value.as_str())
}

/// What is to be said of amounts of money in a bundle that does not say how it writes them.
async fn old_money(connection: &Connection, name: &str, database: &Database) -> Result<Option<Finding>> {
    if !database.money {
        return Ok(None);
    }
    match money_locale(database) {
        Some(locale) if takes(connection, session::MONEY.0, locale).await? => Ok(None),
        Some(locale) => {
            let message = format!("its amounts of money are written by the locale {locale}, which the server lacks");
            let hint = "install it on the system (`locale-gen` on Debian and Ubuntu) and restart PostgreSQL";
            Ok(Some(Finding::error("money-locale", name, message).hint(hint)))
        }
        None => {
            let locale = meaning::session(connection).await?.remove(session::MONEY.0).unwrap_or_default();
            let message = format!(
                "its amounts of money are read by this server's lc_monetary, {locale}: this bundle does not say what the \
                 source's was, and another one would make them a hundred times as much"
            );
            let hint =
                "compare an amount after the restore; a new backup has them so that every server reads them right";
            Ok(Some(Finding::warning("money-locale", name, message).hint(hint)))
        }
    }
}

/// Whether the server takes a value for a setting.
async fn takes(connection: &Connection, name: &str, value: &str) -> Result<bool> {
    match connection.query_one("SELECT pg_catalog.set_config($1, $2, true)", &[&name, &value]).await {
        Ok(_) => Ok(true),
        Err(error) if error.code().is_some_and(|code| NOT_TAKEN.contains(&code.code())) => Ok(false),
        Err(error) => Err(query_failed(format!("ask the server for the setting {name}"), &error)),
    }
}
