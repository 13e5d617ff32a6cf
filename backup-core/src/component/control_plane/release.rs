//! The release that runs on the control plane: named, read from a file or asked for; never guessed.

use std::path::PathBuf;

use serde::Serialize;

use crate::{Error, ErrorContext, Kind, Result};

/// Where the release's version comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// It was given by name.
    Given(String),
    /// The first line of this file.
    File(PathBuf),
    /// The first line that this command prints.
    Command(Vec<String>),
}

/// The content of `release.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// The version, such as `2.6.3`.
    pub version: String,
    /// Where it came from: `given`, a path, or a command's name.
    pub origin: String,
}

/// Finds out the release.
///
/// # Errors
/// Where there is no origin, or it gives no version.
pub async fn find(origin: Option<&Origin>) -> Result<Release> {
    let hint = "name it with --release, or set release.version, release.file or release.command in the settings";
    let (text, origin) = match origin {
        None => {
            return Err(Error::new(Kind::Usage, "find the release that runs here: nothing says which it is").hint(hint));
        }
        Some(Origin::Given(version)) => (version.clone(), "given".to_owned()),
        Some(Origin::File(path)) => {
            let text = std::fs::read_to_string(path).context(|| format!("read the release from {}", path.display()))?;
            (text, path.display().to_string())
        }
        Some(Origin::Command(words)) => (run(words).await?, words.first().cloned().unwrap_or_default()),
    };
    let version = text.lines().next().unwrap_or_default().trim().to_owned();
    if version.is_empty() || version.len() > 200 || version.contains(char::is_control) {
        return Err(Error::new(
            Kind::Failed,
            format!(
                "find the release that runs here: {} is empty or no version",
                if origin == "given" { "the given one" } else { &origin }
            ),
        )
        .hint(hint));
    }
    Ok(Release { version, origin })
}

async fn run(words: &[String]) -> Result<String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Error::new(Kind::Usage, "find the release that runs here: release.command is empty"));
    };
    let mut command = tokio::process::Command::new(program);
    let output = command.args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
    let output = output.context(|| format!("ask {program} for the release"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::new(
            Kind::Failed,
            format!("ask {program} for the release: it ended with {}", output.status),
        )
        .because(errors));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
