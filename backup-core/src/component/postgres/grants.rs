//! What a server's roles may do beyond any database: grants on parameters and tablespaces. Those of the roles that a bundle
//! makes go into `globals.sql`; of the others, and of what else stands in no database, is said that a bundle lacks it.

use tokio_postgres::Row;

use super::connection::Connection;
use super::{query_failed, sql};
use crate::Result;
use crate::finding::Finding;

/// The first version that has grants on parameters.
const PARAMETERS: u32 = 15;

/// A grant of the server.
#[derive(Debug)]
pub(super) struct Grant {
    /// Its role; none for everybody.
    pub(super) role: Option<String>,
    /// `parameter work_mem` or `tablespace fast`.
    subject: String,
    statement: String,
    /// SQL that is true where there is what it is about.
    possible: String,
}

/// The server's grants on parameters and tablespaces, but those of their owners.
pub(super) async fn list(connection: &Connection, major: u32) -> Result<Vec<Grant>> {
    let parameters = "UNION ALL SELECT 'PARAMETER', p.parname::text, g.grantee, g.privilege_type, g.is_grantable \
        FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) g WHERE g.grantee <> 10";
    let query = format!(
        "SELECT s.kind, s.name, r.rolname::text, s.privilege, s.grantable FROM (\
            SELECT 'TABLESPACE', t.spcname::text, g.grantee, g.privilege_type, g.is_grantable \
            FROM pg_catalog.pg_tablespace t, pg_catalog.aclexplode(t.spcacl) g WHERE g.grantee <> t.spcowner {}\
         ) s(kind, name, grantee, privilege, grantable) LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.grantee \
         WHERE s.grantee = 0 OR r.oid IS NOT NULL ORDER BY 1, 2, 3, 4",
        if major >= PARAMETERS { parameters } else { "" }
    );
    let rows = connection.query(&query, &[]).await;
    let rows = rows.map_err(|error| query_failed("read the grants on parameters and tablespaces", &error))?;
    Ok(rows.iter().map(grant).collect())
}

fn grant(row: &Row) -> Grant {
    let (kind, name, role): (&str, &str, Option<String>) = (row.get(0), row.get(1), row.get(2));
    let to = role.as_deref().map_or_else(|| "PUBLIC".into(), sql::identifier);
    let quoted = name.split('.').map(sql::identifier).collect::<Vec<_>>().join(".");
    let quoted = if kind == "PARAMETER" { quoted } else { sql::identifier(name) };
    let option = if row.get(4) { " WITH GRANT OPTION" } else { "" };
    let literal = sql::literal(name);
    // Parameters with a dot are an extension's, and need not be known.
    let possible = match kind {
        "PARAMETER" if name.contains('.') => "true".into(),
        "PARAMETER" => format!("EXISTS (SELECT FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) = {literal})"),
        _ => format!("EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = {literal})"),
    };
    Grant {
        role,
        subject: format!("{} {name}", kind.to_lowercase()),
        statement: format!("GRANT {} ON {kind} {quoted} TO {to}{option};", row.get::<_, &str>(3)),
        possible,
    }
}

impl Grant {
    /// The condition under which it can be made where `globals.sql` has made its role, and the statement.
    pub(super) fn script(&self) -> Option<(String, String)> {
        let role = sql::literal(self.role.as_deref()?);
        let made = format!("EXISTS (SELECT FROM pg_temp.created_roles WHERE name = {role})");
        Some((format!("{made} AND {}", self.possible), format!("    {}\n", self.statement)))
    }

    /// That it is not in the bundle.
    pub(super) fn need(&self) -> Finding {
        let role = self.role.as_deref().unwrap_or("everybody");
        let message = format!("what it grants {role} is not in the bundle, nor is that role");
        let message = if self.role.is_some() { message } else { format!("what it grants {role} is not in the bundle") };
        Finding::info("needs-grant", &self.subject, message).hint(&self.statement)
    }
}

/// What else of the server's roles and tablespaces stands in no database and no bundle.
pub(super) async fn left_out(connection: &Connection) -> Result<Vec<Finding>> {
    let failed = |error| query_failed("read the settings and labels of roles", &error);
    let settings = "SELECT pg_catalog.split_part(pg_catalog.unnest(s.setconfig), '=', 1) \
        FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = 0 AND s.setrole = 0";
    let setting = |row: &Row| {
        let message = "ALTER ROLE ALL sets it for everybody, in every database, and that is not in the bundle";
        Finding::info("needs-setting", format!("setting {}", row.get::<_, &str>(0)), message)
    };
    let mut needs: Vec<Finding> = connection.query(settings, &[]).await.map_err(failed)?.iter().map(setting).collect();
    let labels = "SELECT CASE WHEN l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
            THEN 'role ' || r.rolname ELSE 'tablespace ' || t.spcname END, l.provider FROM pg_catalog.pg_shseclabel l \
        LEFT JOIN pg_catalog.pg_roles r ON l.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.oid = l.objoid \
        LEFT JOIN pg_catalog.pg_tablespace t ON l.classoid = 'pg_catalog.pg_tablespace'::pg_catalog.regclass AND t.oid = l.objoid \
        WHERE r.oid IS NOT NULL OR t.oid IS NOT NULL ORDER BY 1, 2";
    let label = |row: &Row| {
        let message = format!("its security label of {} is not in the bundle", row.get::<_, &str>(1));
        Finding::info("needs-label", row.get::<_, &str>(0), message)
    };
    needs.extend(connection.query(labels, &[]).await.map_err(failed)?.iter().map(label));
    Ok(needs)
}
