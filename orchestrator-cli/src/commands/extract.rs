//! `extract`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use backup_core::bundle::extract::{Pattern, extract};
use backup_core::event::Meter;
use backup_core::store::Access;
use backup_core::{Context, ErrorContext, Result};
use serde_json::json;

use super::verify::with_progress;
use crate::output::Output;
use crate::{exit, findings, human};

pub(crate) async fn run(
    path: &Path,
    wanted: &[String],
    to: &Path,
    access: &Access,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let bundle = context.until_cancelled(access.open(path, context)).await?;
    let wanted = wanted.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>>>()?;
    context.phase(format!("extract {}", path.display()));
    let meter = Arc::new(Meter::default());
    meter.total.store(bundle.footer().bundle_length, Relaxed);
    let work = {
        let (to, context, meter) = (to.to_owned(), context.clone(), meter.clone());
        tokio::task::spawn_blocking(move || extract(&bundle, &wanted, &to, &context, &meter))
    };
    let extracted = with_progress(work, &meter, context).await.context(|| format!("extract {}", path.display()))?;
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
