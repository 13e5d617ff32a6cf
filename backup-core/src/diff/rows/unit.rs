//! What is compared with what: tables of one name, or all partitions whose rows find their place anew in a restore.

use std::collections::BTreeMap;

use super::TableRows;
use super::line::{Fields, Hashes};
use crate::bundle::path;
use crate::component::postgres::{Head, Keys, Relation};

/// A table of one side.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) schema: String,
    pub(super) name: String,
    /// Not known of a bundle's table without rows.
    pub(super) head: Option<Head>,
    /// How many rows it has, where that is known.
    pub(super) rows: u64,
}

/// What is compared as one.
#[derive(Debug, Default)]
pub(super) struct Unit {
    name: String,
    /// Its tables of each side, by their places there.
    pub(super) members: [Vec<usize>; 2],
    /// Schemas and names of these, where they are partitions that are compared together.
    pub(super) together: Vec<String>,
    columns: Vec<Vec<u8>>,
    only: [Vec<Vec<u8>>; 2],
    key: Vec<Vec<u8>>,
    /// Logarithm of the number of parts that digests are made of.
    pub(super) bits: u32,
    problem: Option<&'static str>,
}

/// What was found of a unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) changed: u64,
    /// Rows that one side alone has.
    pub(super) only: [u64; 2],
}

/// Everything that is compared of two databases.
pub(super) struct Plan {
    pub(super) units: Vec<Unit>,
    /// The unit of each table of each side.
    pub(super) unit_of: [Vec<usize>; 2],
    /// How each table's lines are read; none where its rows are counted alone.
    pub(super) fields: [Vec<Option<Fields>>; 2],
    pub(super) hashes: Hashes,
}

/// Rows of which one part of a digest is made, about.
const PART: u64 = 4096;
/// Most parts of a digest: 2 to the power of this.
const MOST: u32 = 14;

impl Plan {
    pub(super) fn new(shapes: [Vec<Shape>; 2], keys: [Keys; 2]) -> Self {
        let roots = roots(&shapes);
        let mut places: BTreeMap<Place<'_>, usize> = BTreeMap::new();
        let mut plan = Self {
            units: Vec::new(),
            unit_of: Default::default(),
            fields: Default::default(),
            hashes: Hashes::default(),
        };
        for (side, shapes) in shapes.iter().enumerate() {
            for (index, shape) in shapes.iter().enumerate() {
                let name = (shape.schema.as_str(), shape.name.as_str());
                let root = roots.get(&name).copied();
                let place = root.map_or(Place::Table(name), Place::Root);
                let unit = *places.entry(place).or_insert_with(|| {
                    let name = root.map_or_else(|| format!("{}.{}", shape.schema, shape.name), shown);
                    plan.units.push(Unit { name, ..Unit::default() });
                    plan.units.len() - 1
                });
                plan.units[unit].members[side].push(index);
                if root.is_some() {
                    plan.units[unit].together.push(format!("{}.{}", shape.schema, shape.name));
                }
                plan.unit_of[side].push(unit);
            }
        }
        for unit in &mut plan.units {
            unit.settle(&shapes, &keys);
        }
        for (side, shapes) in shapes.iter().enumerate() {
            let fields = shapes.iter().zip(&plan.unit_of[side]).map(|(shape, unit)| plan.units[*unit].fields(shape));
            plan.fields[side] = fields.collect();
        }
        plan
    }

    /// Every table of a side.
    pub(super) fn every(&self, side: usize) -> Vec<bool> {
        vec![true; self.unit_of[side].len()]
    }
}

/// A unit, by what tells it from others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place<'p> {
    Table((&'p str, &'p str)),
    Root(&'p Relation),
}

/// The topmost table of each partition that is loaded by way of it, on either side.
fn roots(shapes: &[Vec<Shape>; 2]) -> BTreeMap<(&str, &str), &Relation> {
    let all = || shapes.iter().flatten().filter_map(|shape| Some((shape, &shape.head.as_ref()?.table)));
    let through = all().filter(|(shape, table)| table.1 != shape.name.as_bytes() || table.0 != shape.schema.as_bytes());
    // What is called otherwise because its name is not UTF-8 is still one table.
    let mut names: BTreeMap<&Relation, Vec<(&str, &str)>> = BTreeMap::new();
    for (shape, table) in through {
        names.entry(table).or_default().push((&shape.schema, &shape.name));
    }
    for names in names.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    let several = names.into_iter().filter(|(table, names)| names.len() > 1 || is_text(table));
    several.flat_map(|(table, names)| names.into_iter().map(move |name| (name, table))).collect()
}

fn is_text(table: &Relation) -> bool {
    [&table.0, &table.1].into_iter().all(|name| name.is_ascii())
}

fn shown(table: &Relation) -> String {
    format!("{}.{}", path::to_text(&table.0), path::to_text(&table.1))
}

impl Unit {
    /// Finds out which columns are compared, and by which key.
    fn settle(&mut self, shapes: &[Vec<Shape>; 2], keys: &[Keys; 2]) {
        let heads = |side: usize| self.members[side].iter().filter_map(move |index| shapes[side][*index].head.as_ref());
        let both: Vec<&Head> = heads(0).chain(heads(1)).collect();
        let Some(first) = both.first() else { return };
        let everywhere = |column: &Vec<u8>| both.iter().all(|head| head.columns.contains(column));
        let columns: Vec<Vec<u8>> = first.columns.iter().filter(|column| everywhere(column)).cloned().collect();
        let only = [0, 1].map(|side| {
            let mut only: Vec<Vec<u8>> = heads(side)
                .flat_map(|head| &head.columns)
                .filter(|column| !columns.contains(column))
                .cloned()
                .collect();
            only.sort_unstable();
            only.dedup();
            only
        });
        // The other's key comes first: it is the one that is known best.
        let keys = keys.iter().rev().filter_map(|keys| keys.get(&first.table)).flatten();
        let key = keys.into_iter().find(|key| key.iter().all(|column| columns.contains(column))).cloned();
        self.key = key.unwrap_or_default();
        self.problem = (columns.is_empty() && !only.iter().all(Vec::is_empty) && self.is_on_both())
            .then_some("the two have no column in common");
        self.columns = columns;
        self.only = only;
        let rows: u64 = self.members[0].iter().map(|index| shapes[0][*index].rows).fold(0, u64::saturating_add);
        self.bits = (rows / PART).max(1).ilog2().min(MOST);
    }

    fn is_on_both(&self) -> bool {
        self.members.iter().all(|members| !members.is_empty())
    }

    /// Whether its rows are held against one another.
    pub(super) fn is_compared(&self) -> bool {
        self.is_on_both() && self.problem.is_none()
    }

    /// Whether something tells its rows apart.
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    fn fields(&self, shape: &Shape) -> Option<Fields> {
        let head = shape.head.as_ref().filter(|_| self.is_compared())?;
        let places = |columns: &[Vec<u8>]| {
            let place = |column: &Vec<u8>| head.columns.iter().position(|other| other == column);
            columns.iter().map(place).collect::<Option<Vec<usize>>>()
        };
        Some(Fields { width: head.columns.len(), compared: places(&self.columns)?, key: places(&self.key)? })
    }

    pub(super) fn report(&self, database: &str, found: Found) -> TableRows {
        let names = |columns: &[Vec<u8>]| columns.iter().map(|column| path::to_text(column)).collect();
        // Of a table that one side alone has, everything else is said already.
        let columns = |side: usize| if self.is_on_both() { names(&self.only[side]) } else { Vec::new() };
        TableRows {
            database: database.into(),
            table: self.name.clone(),
            key: names(&self.key),
            changed: found.changed,
            only_in_bundle: found.only[0],
            only_in_other: found.only[1],
            columns_only_in_bundle: columns(0),
            columns_only_in_other: columns(1),
            problem: self.problem.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, of: &str, columns: &[&str]) -> Shape {
        let columns = columns.iter().map(|column| column.as_bytes().to_vec()).collect();
        let head = Head { table: (b"s".to_vec(), of.as_bytes().to_vec()), columns };
        Shape { schema: "s".into(), name: name.into(), head: Some(head), rows: 1 << 40 }
    }

    #[test]
    fn tables_are_compared_by_what_both_have() {
        let empty = Shape { head: None, rows: 0, ..shape("p3", "p3", &[]) };
        let bundle = vec![shape("a", "a", &["x", "y"]), shape("p1", "p", &["k", "v"]), empty, shape("z", "z", &["x"])];
        let live = vec![
            shape("a", "a", &["new", "y", "x"]),
            shape("p1", "p", &["v", "k"]),
            shape("p2", "p", &["k", "v"]),
            shape("p3", "p", &["k", "v"]),
            shape("z", "z", &["w"]),
        ];
        let bytes = |text: &str| text.as_bytes().to_vec();
        let key = Keys::from([((bytes("s"), bytes("a")), vec![vec![bytes("new")], vec![bytes("x")]])]);
        let plan = Plan::new([bundle, live], [Keys::new(), key]);
        assert_eq!(plan.unit_of, [vec![0, 1, 1, 2], vec![0, 1, 1, 1, 2]]);
        let names: Vec<&str> = plan.units.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["s.a", "s.p", "s.z"]);
        assert_eq!(plan.units[1].together, ["s.p1", "s.p3", "s.p1", "s.p2", "s.p3"]);
        assert_eq!(plan.fields[1][0], Some(Fields { width: 3, compared: vec![2, 1], key: vec![2] }));
        assert_eq!(plan.fields[1][1], Some(Fields { width: 2, compared: vec![1, 0], key: vec![] }));
        assert_eq!(plan.units[0].report("d", Found::default()).columns_only_in_other, ["new"]);
        assert!(plan.fields[0][3].is_none() && plan.units[2].problem.is_some());
        assert_eq!(plan.units[0].bits, MOST);
    }
}
