//! The newest bundles, which a scheduled drill takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::Drilled;
use crate::names::Series;
use crate::store::{Access, file_in};
use crate::{Context, Error, Kind, Result, status};

/// The newest good bundle of every series, wherever the settings say that some are.
pub struct Newest<'n>(pub status::Told<'n>);

/// The newest bundle of a series, as far as was looked.
struct Best {
    known: bool,
    created: DateTime<Utc>,
    path: PathBuf,
}

impl Newest<'_> {
    /// Finds them; and the series that should have one and have none.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where there is nothing to drill.
    pub(super) async fn find(self, access: &Access, context: &Context) -> Result<(Vec<PathBuf>, Vec<Drilled>)> {
        let status = status::look(self.0, &[], context).await?;
        let mut newest: BTreeMap<&Series, Option<Best>> = BTreeMap::new();
        for there in status.series.iter().filter(|there| !there.elsewhere) {
            let best = newest.entry(&there.series).or_default();
            let known = there.bundles.last().map(|last| (true, last));
            // A machine that drills alone knows none of them.
            let unknown = there.unknown.last().filter(|_| !access.signing.required).map(|last| (false, last));
            let Some((known, last)) = known.or(unknown) else { continue };
            // What is known goes before what isn't, however new that says it is; of two that are as new the first store's is taken: it is nearest.
            if best.as_ref().is_none_or(|best| (best.known, best.created) < (known, last.created)) {
                let path = file_in(&there.store, &last.file).into();
                *best = Some(Best { known, created: last.created, path });
            }
        }
        let expected = |series: &Series| status.series.iter().any(|there| there.expected && there.series == *series);
        let none = newest.iter().filter(|(series, best)| best.is_none() && expected(series));
        let missing: Vec<Drilled> = none.map(|(series, _)| missing(series)).collect();
        // What somebody put there goes last: time may run out over it.
        let (ours, others): (Vec<_>, Vec<_>) = newest.into_iter().partition(|(series, _)| expected(series));
        let newest: Vec<PathBuf> = ours.into_iter().chain(others).filter_map(|(_, best)| Some(best?.path)).collect();
        if newest.is_empty() && missing.is_empty() {
            let error = Error::new(Kind::NotFound, "drill the newest bundle: there is none");
            return Err(error.hint("`status` says what was looked at"));
        }
        Ok((newest, missing))
    }
}

/// A series that should have a bundle, and has none.
fn missing(series: &Series) -> Drilled {
    let error = Error::new(Kind::NotFound, "there is no good bundle").hint("`status` says what was looked at");
    Drilled { path: series.to_string().into(), series: series.clone(), drill: Err(error), unrecorded: None }
}
