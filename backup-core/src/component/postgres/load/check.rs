//! Proves a database against the manifest, and gathers its statistics.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};

use futures_util::future::try_join_all;
use tokio_postgres::Row;

use super::refused::is_accepted;
use super::{Load, Target};
use crate::bundle::manifest::postgres::Database;
use crate::component::postgres::connection::Connection;
use crate::component::postgres::elsewhere::{LEFT_FOR_LATER, after_restore, elsewhere};
use crate::component::postgres::psql::Psql;
use crate::component::postgres::tables::{self, TableFacts, USER_SCHEMA};
use crate::component::postgres::{discover, large_objects, query_failed, sql};
use crate::event::Meter;
use crate::finding::Finding;
use crate::{Cause, Error, Kind, Result};

impl Load {
    /// Counts every table's rows, looks for every extension and large object, and gathers statistics.
    ///
    /// # Errors
    /// [`Kind::Failed`], naming what is not as the manifest says.
    pub async fn check(&self) -> Result<Vec<Finding>> {
        let (name, shadow, expected) = (&self.name, &self.shadow, self.database());
        let (target, meter, work) = (&self.target, &self.meter, self.share_of_work());
        let accepted = &*self.accepted;
        Comparison { target, name, shadow, expected, accepted, meter, work }.run().await
    }
}

/// A database that was built, and what it must hold.
pub(super) struct Comparison<'c> {
    pub(super) target: &'c Target,
    /// The name that it is to have, for findings.
    pub(super) name: &'c str,
    pub(super) shadow: &'c str,
    pub(super) expected: &'c Database,
    /// What may be missing; of tables, rows.
    pub(super) accepted: &'c [String],
    pub(super) meter: &'c Meter,
    /// What it counts for in the meter.
    pub(super) work: u64,
}

impl Comparison<'_> {
    /// Compares the two, and gathers statistics; what they could not be gathered of is found.
    pub(super) async fn run(&self) -> Result<Vec<Finding>> {
        let connection = self.target.ask(self.shadow).await?;
        let wrong = |what: String| {
            Error::new(Kind::Failed, format!("compare with what was backed up: {what}"))
                .lasting()
                .hint("go back with `restore --rollback`, then restore anew")
        };
        let found = discover::extensions(&connection).await?;
        for extension in &self.expected.extensions {
            if !found.iter().any(|other| other.name == extension.name) {
                return Err(wrong(format!("extension {} is missing", extension.name)));
            }
        }
        let (objects, expected) = (large_objects::count(&connection).await?, self.expected.large_objects);
        if objects != expected {
            return Err(wrong(format!("{objects} large objects, not {expected}")));
        }
        let tables = tables::list(&connection).await?;
        let (counts, mut findings) = self.read_all(&connection, &tables).await?;
        if let Some(difference) = self.compare_counts(&tables, counts) {
            return Err(wrong(difference));
        }
        let elsewhere = elsewhere(&connection).await?;
        findings.extend(elsewhere.iter().map(|one| after_restore(self.name, one)));
        Ok(findings)
    }

    /// The first table whose rows differ in number.
    fn compare_counts(&self, tables: &[TableFacts], counts: Vec<(usize, u64)>) -> Option<String> {
        let mut places = HashMap::new();
        // Rows that found their partition anew stand under one header together; all other tables have one each.
        let mut found: HashMap<&[u8], u64> = HashMap::new();
        for (index, rows) in counts {
            let table = &tables[index];
            *found.entry(&table.header).or_default() += rows;
            places.insert((table.schema.as_str(), table.name.as_str()), table);
        }
        let mut expected: HashMap<&[u8], u64> = HashMap::new();
        let mut accepted: HashSet<&[u8]> = HashSet::new();
        for table in &self.expected.tables {
            match places.get(&(table.schema.as_str(), table.name.as_str())) {
                Some(facts) => {
                    *expected.entry(&facts.header).or_default() += table.rows;
                    accepted.extend(is_accepted(table, self.accepted).then_some(&*facts.header));
                }
                None => return Some(format!("table {}.{} is missing", table.schema, table.name)),
            }
        }
        tables.iter().find_map(|table| {
            let (found, expected) = (found.get(&*table.header)?, expected.get(&*table.header)?);
            // An extension puts rows of its own into its tables when it is made.
            let right = found == expected
                || (table.configuration && found > expected)
                || (accepted.contains(&*table.header) && found < expected);
            (!right).then(|| format!("table {} has {found} rows, not {expected}", table.shown()))
        })
    }

    /// The number of each table's rows, with its place; statistics are gathered on the way, all over several connections.
    async fn read_all(&self, connection: &Connection, all: &[TableFacts]) -> Result<(Vec<(usize, u64)>, Vec<Finding>)> {
        let parameters = self.target.parameters.with_database(self.shadow);
        let psql = Psql::new(&self.target.tools, &parameters, String::from("SELECT WHERE false"));
        // Statistics first: they take longer, the largest table's most of all.
        let mut tasks: VecDeque<Task> = analyzed(connection).await?.into();
        tasks.extend((0..all.len()).map(|index| Task { bytes: all[index].bytes, what: What::Count(index) }));
        let bytes = tasks.iter().map(|task| task.bytes).sum::<u64>().max(1);
        let jobs = self.target.sessions_for(tasks.len(), bytes);
        let (tasks, findings) = (Mutex::new(tasks), Mutex::new(Vec::new()));
        let readers = (0..jobs).map(|_| async {
            let connection = self.target.connect(self.shadow).await?;
            let mut counts = Vec::new();
            loop {
                let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                let Some(task) = task else { return Ok::<_, Error>(counts) };
                match task.what {
                    What::Analyze(name) => {
                        let found = self.analyze_all(&connection, &psql, &name).await?;
                        findings.lock().unwrap_or_else(PoisonError::into_inner).extend(found);
                    }
                    What::Count(index) => counts.push((index, tables::count(&connection, &psql, &all[index]).await?)),
                }
                let share = self.work as f64 * task.bytes as f64 / bytes as f64;
                self.meter.done.fetch_add(share as u64, Relaxed);
            }
        });
        let counts = try_join_all(readers).await?.concat();
        Ok((counts, findings.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Gathers statistics of a table. Where something of it is away, as a foreign partition may be, those of its own
    /// partitions are gathered one by one.
    async fn analyze_all(&self, connection: &Connection, psql: &Psql, name: &[u8]) -> Result<Vec<Finding>> {
        let Some(finding) = self.analyze(connection, psql, name).await? else { return Ok(Vec::new()) };
        let mut findings = vec![finding];
        let table = sql::text(name.to_vec());
        let partitions = format!(
            "SELECT {} FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($1)) p \
             JOIN pg_catalog.pg_class c ON c.oid = p.relid WHERE c.relkind = 'r' AND p.level > 0",
            sql::bytes("p.relid::pg_catalog.regclass::text")
        );
        let rows = connection.query(&partitions, &[&table]).await;
        for row in rows.map_err(|error| query_failed(format!("list the partitions of {table}"), &error))? {
            findings.extend(self.analyze(connection, psql, row.get(0)).await?);
        }
        Ok(findings)
    }

    /// Gathers statistics of a table alone; that they can't be had is no reason to stop.
    async fn analyze(&self, connection: &Connection, psql: &Psql, name: &[u8]) -> Result<Option<Finding>> {
        let Err(error) = analyze(connection, psql, name).await else { return Ok(None) };
        if connection.is_closed() || error.came_of(Cause::DiskFull) {
            return Err(error);
        }
        let table = sql::text(name.to_vec());
        let why = error.chain().pop().unwrap_or_default();
        let message = format!("they could not be gathered: {why}");
        let finding = Finding::warning(LEFT_FOR_LATER, format!("{}: statistics of {table}", self.name), message);
        Ok(Some(finding.hint(format!("once that is mended, run in database {}: ANALYZE {table};", self.name))))
    }
}

struct Task {
    /// Size of the table on disk.
    bytes: u64,
    what: What,
}

enum What {
    /// Gathers statistics of a table, which is SQL.
    Analyze(Vec<u8>),
    /// Counts the rows of the table at this place.
    Count(usize),
}

/// All that statistics are gathered of, the largest first; a partitioned table's include its partitions'.
async fn analyzed(connection: &Connection) -> Result<Vec<Task>> {
    let sql = format!(
        "SELECT {}, pg_catalog.pg_table_size(c.oid) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND {USER_SCHEMA} \
         ORDER BY 2 DESC",
        sql::bytes("c.oid::pg_catalog.regclass::text")
    );
    let rows = connection.query(&sql, &[]).await.map_err(|error| query_failed("list the tables", &error))?;
    let bytes = |row: &Row| u64::try_from(row.get::<_, i64>(1)).unwrap_or(0);
    Ok(rows.iter().map(|row| Task { bytes: bytes(row), what: What::Analyze(row.get(0)) }).collect())
}

async fn analyze(connection: &Connection, psql: &Psql, name: &[u8]) -> Result<()> {
    let statement = [b"ANALYZE ", name].concat();
    match std::str::from_utf8(&statement) {
        Ok(text) => connection.batch_execute(text).await.map_err(|error| query_failed("gather statistics", &error)),
        Err(_) => psql.execute(&statement).await,
    }
}
