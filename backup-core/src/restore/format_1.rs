//! Journals of format 1 knew steps by titles. These are the titles of that day, which stay as they are, with the ids of the same steps.

use super::plan::Plan;
use crate::component::postgres::Recipe;
use crate::names::{ComponentId, StepId};

/// What a database of a bundle was made by, with its name at `{}`.
const OF_BUNDLE: [(&str, &str); 7] = [
    ("postgres/create", "create database {} under another name"),
    ("postgres/rows", "load rows of database {}"),
    ("postgres/large-objects", "load large objects of database {}"),
    ("postgres/indexes", "build indexes of database {}"),
    ("postgres/schema", "add foreign keys and triggers to database {}"),
    ("postgres/check", "compare database {} with the bundle"),
    ("postgres/properties", "set owner, privileges and settings of database {}"),
];
/// And one of a script.
const OF_SCRIPT: [(&str, &str); 3] = [
    ("postgres-script/build", "build database {} from the script under another name"),
    ("postgres-script/check", "compare database {} with the script"),
    ("postgres-script/properties", "set owner, privileges and settings of database {}"),
];

/// The steps of a plan, in order.
pub(super) fn titles(plan: &Plan) -> Vec<(StepId, String)> {
    let (has_databases, has_files, of_bundle) =
        (plan.has(ComponentId::POSTGRES), plan.has(ComponentId::FILES), plan.cluster_conf.is_none());
    let each: &[(&str, &str)] = if of_bundle { &OF_BUNDLE } else { &OF_SCRIPT };
    let fixed = |is: bool, id: &str, title: &str| is.then(|| (StepId::new(id), title.to_owned()));
    let databases = plan.recipe::<Recipe>(ComponentId::POSTGRES).map(|recipe| recipe.databases).unwrap_or_default();
    let names = databases.iter().map(|planned| &planned.names.name);
    let of = |name: &str, (id, title): &(&str, &str)| (StepId::new(format!("{id}/{name}")), title.replace("{}", name));
    let of_databases = names.flat_map(|name| each.iter().map(move |one| of(name, one)));
    let first = fixed(has_databases && of_bundle, "postgres/roles", "create roles");
    let last = [
        fixed(has_files, "files/stage", "write files beside their places"),
        fixed(has_databases, "postgres/swap", "swap the databases"),
        fixed(has_files, "files/place", "put files in their places"),
    ];
    first.into_iter().chain(of_databases).chain(last.into_iter().flatten()).collect()
}
