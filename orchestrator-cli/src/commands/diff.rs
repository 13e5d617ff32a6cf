//! `diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use backup_core::diff::{Difference, diff, of_bundle, of_live};
use backup_core::{Context, Error, Kind, Result, settings};
use serde_json::json;

use super::access;
use crate::arguments::{Identities, Reading};
use crate::output::{self, Output};
use crate::{exit, human};

/// What is compared.
pub(crate) struct Between {
    pub(crate) bundle: PathBuf,
    /// Another bundle; none for what is live.
    pub(crate) other: Option<PathBuf>,
    pub(crate) config: PathBuf,
    pub(crate) identities: Identities,
}

pub(crate) async fn run(between: Between, output: &Output, context: &Context) -> Result<ExitCode> {
    let Between { bundle, other, config, identities } = between;
    let config = Some(config).filter(|config| other.is_none() || config.exists());
    let access = access(Reading { config: config.clone(), identities }, &[&bundle])?;
    let opened = access.open(&bundle, context).await?;
    if let Some(component) = opened.manifest().component().filter(|_| other.is_none()) {
        let doing =
            format!("compare {} with what is live: it holds the databases of {component} alone", bundle.display());
        return Err(Error::new(Kind::Usage, doing).hint("name another bundle of the component to compare it with"));
    }
    let picture = of_bundle(&opened)?;
    let (name, other) = match (other, config) {
        (Some(other), _) => (other.display().to_string(), of_bundle(&access.open(&other, context).await?)?),
        (None, config) => {
            let settings = settings::load(&config.unwrap_or_default())?;
            ("live".into(), of_live(&settings, context).await?)
        }
    };
    let differences = diff(&picture, &other);
    let value = json!({ "other": name, "differences": differences });
    output.result("diff", &value, &(text(&differences) + NOT_COMPARED))?;
    Ok(exit::done(false))
}

/// What no picture holds.
const NOT_COMPARED: &str = "not compared: columns, indexes, functions, privileges, and what stands in rows\n";

fn text(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "no difference\n".into();
    }
    let (lost, rest): (Vec<&Difference>, Vec<&Difference>) = differences.iter().partition(|difference| difference.lost);
    let mut text = String::new();
    for (heading, some) in
        [("A restore of the bundle would lose or change", lost), ("Only in the bundle, or more of it", rest)]
    {
        if !some.is_empty() {
            let rows = some.into_iter().map(row);
            let lines = output::table(&["WHAT", "WHICH", "IN THE BUNDLE", "IN THE OTHER"], &[], rows);
            text.push_str(&format!("{heading}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    text
}

fn row(difference: &Difference) -> [String; 4] {
    let shown = |fact: &Option<String>| fact.as_deref().map_or_else(|| "-".into(), human::plain);
    let subject = human::plain(&difference.subject);
    [difference.area.to_string(), subject, shown(&difference.bundle), shown(&difference.other)]
}
