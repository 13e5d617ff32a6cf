//! Whether the same value is the same text on both sides. A backup fixes most of what decides that; the rest stands in its manifest.

use super::DatabaseRows;
use crate::Result;
use crate::bundle::manifest::postgres::Database;
use crate::bundle::reader::OpenBundle;
use crate::component::postgres::{C_MONEY, money_locale, written_by};

/// Settings that backups leave as the source has them, and what is written by them.
const LEFT: [(&str, &str); 2] = [("TimeZone", "times"), ("bytea_output", "bytes")];

/// Why rows of a bundle's database can't be held against those of another bundle's; none where they can.
///
/// # Errors
/// Where a bundle can't be read.
pub(super) fn with_bundle(
    bundle: &OpenBundle,
    database: usize,
    (other, there): (&OpenBundle, usize),
) -> Result<Option<String>> {
    let facts = [&bundle.manifest().databases[database], &other.manifest().databases[there]];
    if let Some(problem) = encodings(&facts[0].encoding, &facts[1].encoding) {
        return Ok(Some(problem));
    }
    for (setting, what) in LEFT {
        if let [Some(here), Some(there)] = facts.map(|facts| written_by(facts, setting))
            && here != there
        {
            let problem = format!("{what} are written by {setting} = {here} in the bundle, by {there} in the other");
            return Ok(Some(format!("{problem}; compare each with what is live")));
        }
    }
    if has_money(bundle, facts[0])? || has_money(other, facts[1])? {
        return Ok(amounts(money_locale(facts[0]), money_locale(facts[1])));
    }
    Ok(None)
}

/// The same where the other database is live, and so written as the bundle's is, but for amounts of money.
///
/// # Errors
/// Where the bundle can't be read.
pub(in crate::diff) fn with_live(bundle: &OpenBundle, database: usize, encoding: &str) -> Result<Option<DatabaseRows>> {
    let facts = &bundle.manifest().databases[database];
    let problem = match encodings(&facts.encoding, encoding) {
        None if has_money(bundle, facts)? => amounts(money_locale(facts), Some(C_MONEY)),
        problem => problem,
    };
    Ok(problem.map(|problem| DatabaseRows::not_compared(facts, problem)))
}

/// The same text is other bytes in another encoding.
fn encodings(here: &str, there: &str) -> Option<String> {
    (here != there).then(|| format!("their encodings differ: {here} in the bundle, {there} in the other"))
}

fn amounts(here: Option<&str>, there: Option<&str>) -> Option<String> {
    (here != there).then(|| {
        let [here, there] = [here, there].map(|locale| locale.unwrap_or("one that it does not say"));
        format!("amounts of money are written by the locale {here} in the bundle, by {there} in the other")
    })
}

/// Whether it has amounts of money. Bundles of earlier versions say it by their types alone.
fn has_money(bundle: &OpenBundle, facts: &Database) -> Result<bool> {
    if facts.session.is_some() {
        return Ok(facts.money);
    }
    let script = bundle.content(&format!("databases/{}/pre-data.sql", facts.directory))?;
    Ok(memchr::memmem::find(&script, b" money").is_some())
}
