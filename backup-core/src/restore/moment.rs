//! The moment that a restore gives to the names of what it sets aside.

use std::path::Path;

use chrono::TimeDelta;

use super::Request;
use crate::Context;
use crate::component::files::{There, placements};
use crate::component::postgres::Target;
use crate::finding::Findings;
use crate::names::timestamp;

/// Now, to the second; or the first second after it that nothing beside the databases and files is called by. Two restores
/// of something small may begin in one second, and the clock may have been set back.
pub(super) async fn free(
    there: &There<'_>,
    request: &Request,
    target: Option<&Target>,
    context: &Context,
    findings: &mut Findings,
) -> String {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let has_file = |moment: &str| {
        let mut files = placements(there, &request.root, moment).into_iter();
        files.any(|file| is_there(&file.staging) || file.before.is_some_and(|before| is_there(&before)))
    };
    let mut time = context.now();
    loop {
        let moment = timestamp(time);
        let has_database = match target {
            Some(target) => target.has_name_with_ending(&format!("_{moment}")).await,
            None => Ok(false),
        };
        let has_database = findings.keep("databases", "databases", has_database).unwrap_or(false);
        if !has_database && !has_file(&moment) {
            return moment;
        }
        time += TimeDelta::seconds(1);
    }
}
