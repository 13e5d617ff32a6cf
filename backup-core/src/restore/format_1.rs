//! Journals of format 1 knew steps by titles. These are the titles of that day, which stay as they are.

use super::plan::Plan;

/// What a database of a bundle was made by, with its name at `{}`.
const OF_BUNDLE: [&str; 7] = [
    "create database {} under another name",
    "load rows of database {}",
    "load large objects of database {}",
    "build indexes of database {}",
    "add foreign keys and triggers to database {}",
    "compare database {} with the bundle",
    "set owner, privileges and settings of database {}",
];
/// And one of a script.
const OF_SCRIPT: [&str; 3] = [
    "build database {} from the script under another name",
    "compare database {} with the script",
    "set owner, privileges and settings of database {}",
];

/// The titles of a plan's steps, in order.
pub(super) fn titles(plan: &Plan) -> Vec<String> {
    let (has_databases, has_files, of_bundle) =
        (!plan.databases.is_empty(), !plan.files.is_empty(), plan.cluster_conf.is_none());
    let each: &[&str] = if of_bundle { &OF_BUNDLE } else { &OF_SCRIPT };
    let fixed = |is: bool, title: &str| is.then(|| title.to_owned());
    let names = plan.databases.iter().map(|planned| &planned.names.name);
    let of_databases = names.flat_map(|name| each.iter().map(move |title| title.replace("{}", name)));
    let first = fixed(has_databases && of_bundle, "create roles");
    let last = [
        fixed(has_files, "write files beside their places"),
        fixed(has_databases, "swap the databases"),
        fixed(has_files, "put files in their places"),
    ];
    first.into_iter().chain(of_databases).chain(last.into_iter().flatten()).collect()
}
