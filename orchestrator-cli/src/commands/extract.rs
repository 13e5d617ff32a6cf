//! `extract`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use backup_core::bundle::extract::{Pattern, extract};
use backup_core::event::Meter;
use backup_core::names::FileName;
use backup_core::store::Access;
use backup_core::{Context, Error, ErrorContext, Kind, Result};
use serde_json::json;

use super::verify::with_progress;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(
    path: &Path,
    (wanted, to): (&[String], &Path),
    access: &Access,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    in_order(path, wanted, to)?;
    let bundle = context.until_cancelled(access.open(path, context)).await?;
    let wanted = wanted.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>>>()?;
    context.phase(format!("extract {}", path.display()));
    let meter = Arc::new(Meter::default());
    meter.total.store(bundle.footer().bundle_length, Relaxed);
    let work = {
        let (to, context, meter) = (to.to_owned(), context.clone(), meter.clone());
        tokio::task::spawn_blocking(move || extract(&bundle, &wanted, &to, &context, &meter))
    };
    let extracted = with_progress(work, &meter, context).await.map_err(|error| match error.kind() {
        Kind::NotFound => error.hint(format!("`show --entries {}` lists them", human::shell_word(path))),
        _ => error,
    });
    let extracted = extracted.context(|| format!("extract {}", path.display()))?;
    let mut text: String = extracted.warnings.iter().map(findings::finding).collect();
    text.push_str(&format!(
        "{} with {} in {}\n",
        human::counted(extracted.entries, "entry"),
        human::bytes(extracted.bytes),
        extracted.directory.display(),
    ));
    let value = json!({
        "directory": extracted.directory, "entries": extracted.entries, "bytes": extracted.bytes, "warnings": extracted.warnings,
    });
    output.result("extract", &value, &text)?;
    Ok(exit::done(!extracted.warnings.is_empty()))
}

/// Refuses a bundle among the entries, where the first argument is none.
fn in_order(path: &Path, wanted: &[String], to: &Path) -> Result<()> {
    let named = |path: &Path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<FileName>().is_ok())
    };
    let Some(bundle) = wanted.iter().find(|text| named(Path::new(text))).filter(|_| !named(path)) else {
        return Ok(());
    };
    let others = wanted.iter().filter(|text| *text != bundle).map(String::as_str);
    let words = [bundle.as_str()].into_iter().chain(path.to_str()).chain(others);
    let words: Vec<String> = words.map(|word| human::shell_word(Path::new(word))).collect();
    let error =
        Error::new(Kind::Usage, format!("extract: {bundle} is a bundle, and {} is taken for one", path.display()));
    Err(error.hint(format!("the bundle comes first: `extract {} --to {}`", words.join(" "), human::shell_word(to))))
}
