//! `globals.sql` as facts: what it makes is known before, and only statements of our own are run.

mod reading;
mod tokens;

pub(crate) use reading::read;

use super::sql;

/// What the script says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Globals {
    /// Roles, each made where there is none of its name.
    pub(crate) roles: Vec<Role>,
    /// Who is a member of whom.
    pub(crate) memberships: Vec<Membership>,
    /// What sessions of roles begin with.
    pub(crate) settings: Vec<Setting>,
    /// What roles may do beside databases.
    pub(crate) grants: Vec<Grant>,
    /// Names of the source's tablespaces.
    pub(crate) tablespaces: Vec<String>,
}

#[cfg(any(test, fuzzing))]
impl Globals {
    /// All statements that it amounts to.
    pub(super) fn statements(&self) -> impl Iterator<Item = String> + '_ {
        let roles = self.roles.iter().flat_map(Role::statements);
        let members = self.memberships.iter().map(Membership::statement);
        roles
            .chain(members)
            .chain(self.settings.iter().map(Setting::statement))
            .chain(self.grants.iter().map(Grant::statement))
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    /// `SUPERUSER`, `NOLOGIN`.
    pub(crate) attributes: Vec<String>,
    pub(crate) connection_limit: i32,
    pub(crate) valid_until: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) comment: Option<String>,
}

/// That a role is a member of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: String,
    pub(crate) member: String,
    /// ` WITH ADMIN OPTION`.
    options: String,
}

/// A setting of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) role: String,
    /// The parts of its name.
    pub(crate) name: Vec<String>,
    pub(crate) values: Vec<String>,
}

/// A grant on a parameter or a tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    /// `SET`, `ALTER SYSTEM`, `CREATE`.
    pub(crate) privilege: String,
    pub(crate) on_parameter: bool,
    /// The parts of the name of what it is on.
    pub(crate) name: Vec<String>,
    pub(crate) role: String,
    /// Whether the role may grant it on.
    option: bool,
}

/// What lets a role do more than its databases' owners may.
const POWERS: [&str; 4] = ["SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS"];

impl Role {
    /// The statements that make it.
    pub(crate) fn statements(&self) -> Vec<String> {
        let name = sql::identifier(&self.name);
        let mut create =
            format!("CREATE ROLE {name} WITH {} CONNECTION LIMIT {}", self.attributes.join(" "), self.connection_limit);
        let options = [("VALID UNTIL", &self.valid_until), ("PASSWORD", &self.password)];
        for (word, value) in options.into_iter().filter_map(|(word, value)| Some((word, value.as_ref()?))) {
            create.push_str(&format!(" {word} {}", sql::literal(value)));
        }
        let comment = self.comment.as_ref().map(|text| format!("COMMENT ON ROLE {name} IS {}", sql::literal(text)));
        std::iter::once(create).chain(comment).collect()
    }

    /// What it may do that databases' owners may not.
    pub(crate) fn powers(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(String::as_str).filter(|attribute| POWERS.contains(attribute))
    }

    /// Whether it logs in and has no password.
    pub(crate) fn needs_password(&self) -> bool {
        self.password.is_none() && self.attributes.iter().any(|attribute| attribute == "LOGIN")
    }
}

impl Membership {
    pub(crate) fn statement(&self) -> String {
        format!("GRANT {} TO {}{}", sql::identifier(&self.group), sql::identifier(&self.member), self.options)
    }
}

impl Setting {
    /// ` SET name TO value`.
    pub(crate) fn deed(&self) -> String {
        let values: Vec<String> = self.values.iter().map(|value| sql::literal(value)).collect();
        format!(" SET {} TO {}", joined(&self.name), values.join(", "))
    }

    pub(crate) fn statement(&self) -> String {
        format!("ALTER ROLE {}{}", sql::identifier(&self.role), self.deed())
    }
}

impl Grant {
    pub(crate) fn statement(&self) -> String {
        let kind = if self.on_parameter { "PARAMETER" } else { "TABLESPACE" };
        let option = if self.option { " WITH GRANT OPTION" } else { "" };
        let (name, role) = (joined(&self.name), sql::identifier(&self.role));
        format!("GRANT {} ON {kind} {name} TO {role}{option}", self.privilege)
    }
}

fn joined(name: &[String]) -> String {
    name.iter().map(|part| sql::identifier(part)).collect::<Vec<_>>().join(".")
}
