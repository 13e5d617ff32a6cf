//! `diff`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use backup_core::catalog::LATEST;
use backup_core::diff::{Area, Difference, Rows, TableRows, diff, of_bundle, of_live, rows_of_bundles};
use backup_core::{Context, Error, Kind, Result, settings};
use serde_json::json;

use super::latest::meant;
use super::reached;
use crate::arguments::{Identities, Latest, Reading};
use crate::known::known;
use crate::output::{self, Output};
use crate::{exit, human};

/// What is compared.
pub(crate) struct Between {
    pub(crate) bundle: PathBuf,
    /// Another bundle; none for what is live.
    pub(crate) other: Option<PathBuf>,
    /// Whose newest bundle `latest` is.
    pub(crate) latest: Latest,
    /// Whether what stands in rows is compared.
    pub(crate) rows: bool,
    pub(crate) config: PathBuf,
    pub(crate) identities: Identities,
}

pub(crate) async fn run(between: Between, output: &Output, context: &Context) -> Result<ExitCode> {
    let Between { bundle, other, latest, rows, config, identities } = between;
    let config = Some(config).filter(|config| other.is_none() || config.exists());
    let named: Vec<&Path> = [Some(&bundle), other.as_ref()].into_iter().flatten().map(PathBuf::as_path).collect();
    let settings = reached(Reading { config: config.clone(), identities }, &named, context)?;
    let other = match other {
        Some(other) if other.as_os_str() == LATEST => Some(meant(&other, &latest, &settings, context).await?),
        other => other,
    };
    let bundle = meant(&bundle, &latest, &settings, context).await?;
    let access = settings.access;
    let opened = access.open(&bundle, context).await?;
    if let Some(component) = opened.manifest().component().filter(|_| other.is_none()) {
        let doing =
            format!("compare {} with what is live: it holds the databases of {component} alone", bundle.display());
        return Err(Error::new(Kind::Usage, doing).hint("name another bundle of the component to compare it with"));
    }
    let picture = of_bundle(&opened)?;
    let opened = Arc::new(opened);
    let (name, (other, rows)) = match (other, config) {
        (Some(other), _) => {
            let there = Arc::new(access.open(&other, context).await?);
            let rows = if rows { Some(rows_of_bundles(&opened, &there, context).await?) } else { None };
            (other.display().to_string(), (of_bundle(&there)?, rows))
        }
        (None, config) => {
            let settings = settings::load(&config.unwrap_or_default(), &known())?;
            ("live".into(), of_live(&settings.backup, rows.then_some(&opened), context).await?)
        }
    };
    let mut differences = diff(&picture, &other);
    if let Some(rows) = &rows {
        rows.retain_telling(&mut differences);
    }
    let value = json!({ "other": name, "differences": differences, "rows": rows });
    output.result("diff", &value, &text(&differences, rows.as_ref()))?;
    Ok(exit::done(false))
}

/// What no picture holds.
const NOT_COMPARED: &str = "columns, indexes, functions, privileges, values of sequences, large objects";

fn text(differences: &[Difference], rows: Option<&Rows>) -> String {
    let some = |wanted: fn(&Difference) -> bool| differences.iter().filter(|one| wanted(one)).collect::<Vec<_>>();
    let mut text = String::new();
    for (heading, some) in [
        ("A restore of the bundle would lose or change", some(|one| one.lost)),
        ("Only in the bundle, or more of it", some(|one| !one.lost && !one.untouched)),
        // What is in such a database goes without saying.
        ("Not touched by a restore of the bundle", some(|one| one.untouched && !is_of_database(one))),
    ] {
        if !some.is_empty() {
            let rows = some.into_iter().map(row);
            let lines = output::table(&["WHAT", "WHICH", "IN THE BUNDLE", "IN THE OTHER"], &[], rows);
            section(&mut text, heading, &lines);
        }
    }
    let Some(rows) = rows else {
        let same = if differences.is_empty() { "no difference, as far as that was compared\n" } else { "" };
        return format!("{text}{same}not compared: what stands in rows (--rows compares it), {NOT_COMPARED}\n");
    };
    text.push_str(&of_rows(rows));
    if differences.is_empty() && rows.tables.is_empty() && rows.databases.iter().all(|it| it.problem.is_none()) {
        text.push_str("no difference\n");
    }
    for database in &rows.databases {
        let name = human::plain(&database.database);
        text.push_str(&match (&database.problem, &database.other_time) {
            (None, Some(other)) => format!(
                "compared: all rows of {} in database {name}, of {} in the bundle, of {} in the other\n",
                human::counted(database.tables as u64, "table"),
                database.bundle_time.format("%F %T UTC"),
                other.format("%F %T UTC"),
            ),
            (problem, _) => format!(
                "not compared: rows of database {name}: {}\n",
                human::plain(problem.as_deref().unwrap_or_default())
            ),
        });
    }
    format!("{text}not compared: {NOT_COMPARED}\n")
}

/// Whether it is something in a database.
fn is_of_database(difference: &Difference) -> bool {
    matches!(difference.area, Area::Table | Area::Extension)
}

fn section(text: &mut String, heading: &str, lines: &[String]) {
    text.push_str(&format!("{heading}\n"));
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
}

/// Rows that differ, and what of tables could not be compared.
fn of_rows(rows: &Rows) -> String {
    let mut text = String::new();
    let subject = |table: &TableRows| human::plain(&format!("{}: {}", table.database, table.table));
    let differ = |table: &&TableRows| table.changed + table.only_in_bundle + table.only_in_other > 0;
    let lines = rows.tables.iter().filter(differ).map(|table| {
        let keyed = !table.key.is_empty();
        let key = if keyed { human::plain(&table.key.join(", ")) } else { "-".into() };
        let changed = if keyed { table.changed.to_string() } else { "-".into() };
        [subject(table), key, changed, table.only_in_bundle.to_string(), table.only_in_other.to_string()]
    });
    let header = ["TABLE", "BY KEY", "CHANGED", "ONLY IN THE BUNDLE", "ONLY IN THE OTHER"];
    let lines = output::table(&header, &[2, 3, 4], lines);
    if lines.len() > 1 {
        section(&mut text, "Rows that differ", &lines);
    }
    for table in &rows.tables {
        let sides = [("the bundle", &table.columns_only_in_bundle), ("the other", &table.columns_only_in_other)];
        for (side, columns) in sides.into_iter().filter(|(_, columns)| !columns.is_empty()) {
            let columns = human::plain(&columns.join(", "));
            text.push_str(&format!("not compared: columns of {} that {side} alone has: {columns}\n", subject(table)));
        }
        if let Some(problem) = &table.problem {
            text.push_str(&format!("not compared: rows of {}: {problem}\n", subject(table)));
        }
    }
    text
}

fn row(difference: &Difference) -> [String; 4] {
    let shown = |fact: &Option<String>| fact.as_deref().map_or_else(|| "-".into(), human::plain);
    let subject = human::plain(&difference.subject);
    [difference.area.to_string(), subject, shown(&difference.bundle), shown(&difference.other)]
}
