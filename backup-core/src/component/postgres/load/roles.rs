//! Roles: made where they are missing, without settings that the server does not take, and dropped again.

use std::collections::HashSet;

use tokio_postgres::error::SqlState;

use super::Target;
use super::settings::NotTaken;
use crate::Result;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::globals::{Globals, Grant, Setting};
use crate::component::postgres::{query_failed, sql};
use crate::finding::Finding;

/// Settings that are another role's name, which is there once the roles are made.
const NAME_ROLES: [&str; 2] = ["role", "session_authorization"];

impl Setting {
    /// Why the server does not take it, if it does not.
    async fn problem(&self, globals: &Globals, target: &Target, connection: &Connection) -> Result<Option<String>> {
        let named = self.name.len() == 1 && NAME_ROLES.contains(&self.name[0].as_str());
        if named && globals.roles.iter().any(|role| self.values == [role.name.as_str()]) {
            return Ok(None);
        }
        let statement = format!("ALTER DATABASE {}{}", sql::identifier(target.administrative()), self.deed());
        let unquoted = statement.replacen('"', "", 4);
        if let Some(why) = target.preload_problem(unquoted.as_bytes()).await {
            return Ok(Some(why));
        }
        let tried = connection.batch_execute(&format!("BEGIN; {statement}")).await;
        connection
            .batch_execute("ROLLBACK")
            .await
            .map_err(|error| query_failed("try the settings of roles", &error))?;
        match tried {
            Ok(()) => Ok(None),
            Err(error) => match error.as_db_error() {
                Some(refusal) if NotTaken::is_of(refusal.code().code()) => Ok(Some(refusal.message().into())),
                _ => Err(query_failed("try the settings of roles", &error)),
            },
        }
    }
}

impl Grant {
    /// Whether the server has what it is on. Parameters with a dot are an extension's, and need not be known.
    async fn is_possible(&self, connection: &Connection) -> Result<bool> {
        let table = match (self.on_parameter, self.name.len()) {
            (true, 2..) => return Ok(true),
            (true, _) => "pg_catalog.pg_settings WHERE pg_catalog.lower(name) = $1",
            (false, _) => "pg_catalog.pg_tablespace WHERE spcname = $1",
        };
        let row = connection.query_opt(&format!("SELECT FROM {table}"), &[&self.name.join(".")]).await;
        row.map(|row| row.is_some()).map_err(|error| query_failed("look for what roles are granted", &error))
    }
}

impl Target {
    /// Makes the roles that are not there, all or none; but settings that the server does not take.
    ///
    /// # Errors
    /// The server's words.
    pub(crate) async fn create_roles(&self, globals: &Globals) -> Result<()> {
        let failed = |error| query_failed("create the roles", &error);
        let not_taken: Vec<Setting> = self.not_taken(globals).await?.into_iter().map(|(setting, _)| setting).collect();
        let names: Vec<String> = globals.roles.iter().map(|role| role.name.clone()).collect();
        let existing: HashSet<String> = self.existing_roles(&names).await?.into_iter().collect();
        let made: HashSet<&String> = names.iter().filter(|name| !existing.contains(*name)).collect();
        let is_made = |name: &String| made.contains(name);
        let connection = self.administer().await?;
        let mut statements: Vec<String> = Vec::new();
        for role in globals.roles.iter().filter(|role| is_made(&role.name)) {
            statements.extend(role.statements());
        }
        let memberships = globals.memberships.iter().filter(|one| is_made(&one.group) || is_made(&one.member));
        statements.extend(memberships.map(|membership| membership.statement()));
        let settings = globals.settings.iter().filter(|one| is_made(&one.role) && !not_taken.contains(one));
        statements.extend(settings.map(Setting::statement));
        for grant in globals.grants.iter().filter(|grant| is_made(&grant.role)) {
            if grant.is_possible(&connection).await? {
                statements.push(grant.statement());
            }
        }
        // In one message, so that nothing of it is left where we are killed.
        let all = format!("BEGIN; {}; COMMIT", statements.join("; "));
        if statements.is_empty() { Ok(()) } else { connection.batch_execute(&all).await.map_err(failed) }
    }

    /// What the server does not take of the settings of `names`, roles that are to be made.
    ///
    /// # Errors
    /// A failed query.
    pub(crate) async fn role_setting_findings(&self, globals: &Globals, names: &[String]) -> Result<Vec<Finding>> {
        if !self.may_try().await? {
            return Ok(Vec::new());
        }
        let finding = |(setting, why): (Setting, String)| {
            let name = names.iter().find(|name| **name == setting.role)?;
            Some(NotTaken::of(setting.statement(), &setting.deed(), &why).finding(&format!("role {name}")))
        };
        Ok(self.not_taken(globals).await?.into_iter().filter_map(finding).collect())
    }

    async fn not_taken(&self, globals: &Globals) -> Result<Vec<(Setting, String)>> {
        let connection = self.administer().await?;
        let mut not_taken = Vec::new();
        for setting in &globals.settings {
            if let Some(why) = setting.problem(globals, self, &connection).await? {
                not_taken.push((setting.clone(), why));
            }
        }
        Ok(not_taken)
    }

    /// Those of `names` that the server has.
    ///
    /// # Errors
    /// A failed query.
    pub async fn existing_roles(&self, names: &[String]) -> Result<Vec<String>> {
        let sql = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY($1)";
        let rows = self.administer().await?.query(sql, &[&names]).await;
        let rows = rows.map_err(|error| query_failed("look for the roles", &error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Those of `names`, roles of the server, that may do more than databases' owners may, themselves or as members.
    ///
    /// # Errors
    /// A failed query.
    pub(super) async fn powerful_roles(&self, names: &[&str]) -> Result<Vec<String>> {
        let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname = ANY($1) AND EXISTS (\
            SELECT FROM pg_catalog.pg_roles p WHERE (p.rolsuper OR p.rolcreaterole OR p.rolreplication OR p.rolbypassrls \
                OR p.rolname ~ '^pg_') AND pg_catalog.pg_has_role(r.oid, p.oid, 'MEMBER'))";
        let rows = self.administer().await?.query(sql, &[&names]).await;
        let rows = rows.map_err(|error| query_failed("look what roles may do", &error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Drops a role, if it is there; false where something else depends on it by now, and it stays.
    ///
    /// # Errors
    /// Any other failure.
    pub async fn drop_role(&self, name: &str) -> Result<bool> {
        let connection = self.administer().await?;
        let drop = format!("DROP ROLE IF EXISTS {}", sql::identifier(name));
        match connection.batch_execute(&drop).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => Ok(false),
            Err(error) => Err(query_failed(format!("drop role {name}"), &error)),
        }
    }
}
