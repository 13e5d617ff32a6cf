//! Whether two databases hold the same rows, whatever their order, and how many differ where they don't.
//!
//! Every row of both is read once, and each table's digests are held against one another. Where they differ, the rows that
//! may be the cause are read once more and counted, by their key where they have one.

mod comparable;
mod count;
mod digest;
mod line;
mod side;
mod unit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Area, Difference};
use crate::bundle::manifest::postgres::Database;
use crate::bundle::reader::OpenBundle;
use crate::event::{Meter, Ticker};
use crate::{Context, Result};
pub(super) use comparable::with_live;
use count::Counting;
use digest::Digests;
pub(super) use side::Side;
use side::Stored;
use unit::Plan;

/// What a comparison of rows has to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// The databases that both have.
    pub databases: Vec<DatabaseRows>,
    /// Tables whose rows differ, or could not be compared.
    pub tables: Vec<TableRows>,
    /// Partitions that were compared together, since a restore lets their rows find their places anew: how many rows each
    /// has says nothing.
    #[serde(skip)]
    together: BTreeSet<String>,
}

impl Rows {
    /// Leaves out differences that say nothing now that rows were compared.
    pub fn retain_telling(&self, differences: &mut Vec<Difference>) {
        differences.retain(|difference| difference.area != Area::Table || !self.together.contains(&difference.subject));
    }
}

/// A database whose rows were compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DatabaseRows {
    /// Its name.
    pub database: String,
    /// When its rows in the bundle were as they are there.
    pub bundle_time: DateTime<Utc>,
    /// The same of the other.
    pub other_time: Option<DateTime<Utc>>,
    /// Tables that were compared.
    pub tables: usize,
    /// Why they were not compared.
    pub problem: Option<String>,
}

impl DatabaseRows {
    fn not_compared(facts: &Database, problem: String) -> Self {
        let (database, bundle_time) = (facts.name.clone(), facts.snapshot.time);
        Self { database, bundle_time, other_time: None, tables: 0, problem: Some(problem) }
    }
}

/// A table whose rows differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableRows {
    /// Its database.
    pub database: String,
    /// Schema and name.
    pub table: String,
    /// The columns that tell its rows apart; none where nothing does.
    pub key: Vec<String>,
    /// Rows with the same key and something else beside it.
    pub changed: u64,
    /// Rows that the bundle alone has.
    pub only_in_bundle: u64,
    /// Rows that the other alone has.
    pub only_in_other: u64,
    /// Columns that the bundle alone has, and which were not compared.
    pub columns_only_in_bundle: Vec<String>,
    /// Columns that the other alone has, and which were not compared.
    pub columns_only_in_other: Vec<String>,
    /// Why its rows were not compared.
    pub problem: Option<String>,
}

impl TableRows {
    /// Whether anything differs, or may.
    fn says_anything(&self) -> bool {
        self.changed + self.only_in_bundle + self.only_in_other > 0
            || !(self.columns_only_in_bundle.is_empty() && self.columns_only_in_other.is_empty())
            || self.problem.is_some()
    }
}

/// Two databases of one name.
pub(super) struct Pair<'p> {
    pub(super) bundle: Arc<OpenBundle>,
    /// The database's place in the bundle's manifest.
    pub(super) database: usize,
    pub(super) other: Side,
    /// Connections to a live database.
    pub(super) jobs: usize,
    pub(super) context: &'p Context,
}

impl Pair<'_> {
    /// Adds to `rows` what differs; returns how many rows each table of the other has.
    ///
    /// # Errors
    /// The first failure to read either.
    pub(super) async fn compare(self, rows: &mut Rows) -> Result<Vec<u64>> {
        let facts = &self.bundle.manifest().databases[self.database];
        let (database, bundle_time) = (facts.name.clone(), facts.snapshot.time);
        self.context.phase(format!("compare the rows of database {database}"));
        let sides = [Side::Bundle(Stored::new(self.bundle.clone(), self.database)), self.other];
        let plan = Arc::new(Plan::new(
            [sides[0].shapes().await?, sides[1].shapes().await?],
            [sides[0].keys().await?, sides[1].keys().await?],
        ));
        let reading = Reading { sides: &sides, jobs: self.jobs, meter: Arc::default(), context: self.context };
        let ticker = Ticker::start(reading.meter.clone(), self.context.observer.clone());
        let digests = [0, 1].map(|side| Arc::new(Digests::new(plan.clone(), side)));
        reading.read([plan.every(0), plan.every(1)], digests.clone()).await?;
        let mut found = Digests::compare(&digests);
        if found.unsettled.iter().any(Option::is_some) {
            let counting = Counting::new(plan.clone(), std::mem::take(&mut found.unsettled));
            let counting = Arc::new(counting);
            self.context.phase(format!("count the rows that differ in database {database}"));
            let both = [0, 1].map(|side| Arc::new(counting.side(side)));
            reading.read([counting.wanted(0), counting.wanted(1)], both).await?;
            counting.finish(&mut found.units)?;
        }
        drop(ticker);
        let tables = plan.units.iter().zip(found.units).map(|(unit, found)| unit.report(&database, found));
        rows.tables.extend(tables.filter(TableRows::says_anything));
        let together = plan.units.iter().filter(|unit| unit.is_compared()).flat_map(|unit| &unit.together);
        rows.together.extend(together.map(|table| format!("{database}: {table}")));
        let compared = plan.units.iter().filter(|unit| unit.is_compared()).map(|unit| unit.members[0].len()).sum();
        let other_time = Some(sides[1].time());
        rows.databases.push(DatabaseRows { database, bundle_time, other_time, tables: compared, problem: None });
        Ok(digests[1].rows())
    }
}

/// Both sides, and what reading them takes.
struct Reading<'r> {
    sides: &'r [Side; 2],
    jobs: usize,
    meter: Arc<Meter>,
    context: &'r Context,
}

impl Reading<'_> {
    /// Reads the tables that are wanted of both sides at once.
    async fn read<P>(&self, wanted: [Vec<bool>; 2], pieces: [Arc<P>; 2]) -> Result<()>
    where
        P: crate::component::postgres::Pieces + 'static,
    {
        let more: u64 = self.sides.iter().zip(&wanted).map(|(side, wanted)| side.bytes(wanted)).sum();
        self.meter.total.fetch_add(more, Relaxed);
        let [left, right] = pieces;
        tokio::try_join!(
            self.sides[0].read(&wanted[0], left, self.jobs, (&self.meter, self.context)),
            self.sides[1].read(&wanted[1], right, self.jobs, (&self.meter, self.context)),
        )?;
        Ok(())
    }
}

/// Compares the rows of all databases that both bundles have.
///
/// # Errors
/// The first failure to read either.
pub async fn of_bundles(bundle: &Arc<OpenBundle>, other: &Arc<OpenBundle>, context: &Context) -> Result<Rows> {
    let mut rows = Rows::default();
    for (database, facts) in bundle.manifest().databases.iter().enumerate() {
        let there = other.manifest().databases.iter().position(|there| there.name == facts.name);
        let Some(there) = there else { continue };
        if let Some(problem) = comparable::with_bundle(bundle, database, (other, there))? {
            rows.databases.push(DatabaseRows::not_compared(facts, problem));
            continue;
        }
        let other = Side::Bundle(Stored::new(other.clone(), there));
        Pair { bundle: bundle.clone(), database, other, jobs: 1, context }.compare(&mut rows).await?;
    }
    Ok(rows)
}
