//! Large objects: dumped by `pg_dump` with owners, privileges and comments, cut into scripts of their own.

use std::process::Stdio;

use tokio::io::AsyncBufReadExt;

use super::command::start;
use super::connection::{Connection, Parameters};
use super::tools::Tools;
use super::{query_failed, session};
use crate::bundle::writer::{Growing, Writer};
use crate::{ErrorContext, Result};

/// A script is closed after the line that brings it to this size.
const SCRIPT: u64 = 16 << 20;

/// How many large objects the database has.
pub(super) async fn count(connection: &Connection) -> Result<u64> {
    let query = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata";
    let row =
        connection.query_one(query, &[]).await.map_err(|error| query_failed("count the large objects", &error))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Adds all large objects to the bundle, below `directory`; returns the number of scripts.
pub(super) async fn capture(
    tools: &Tools,
    parameters: &Parameters,
    snapshot: &str,
    directory: &str,
    writer: &Writer,
) -> Result<u64> {
    let mut command = tools.client("pg_dump", parameters);
    // The data section without any table's data: large objects are all that is left of it.
    command.args(["--format=plain", "--section=data", "--exclude-table-data=*.*", "--no-password"]);
    command.args(["--lock-wait-timeout=60000", &format!("--snapshot={snapshot}")]);
    let mut dump = start(command, "dump the large objects with pg_dump", Stdio::null())?;
    let mut splitter = Splitter { settings: session::by_hand(), ..Splitter::default() };
    let mut script: Option<Growing> = None;
    let mut scripts = 0;
    let mut line = Vec::new();
    while dump.output.read_until(b'\n', &mut line).await.context(|| "read the large objects from pg_dump".into())? > 0 {
        let mut entry = match script.take() {
            Some(entry) => entry,
            None => {
                scripts += 1;
                let mut entry = writer.growing(writer.private_head(&format!("{directory}/{}", script_path(scripts))));
                entry.write(splitter.reopen().as_bytes()).await;
                entry
            }
        };
        entry.write(&line).await;
        let may_cut = splitter.take(&line);
        if may_cut && entry.size() >= SCRIPT {
            entry.write(splitter.close().as_bytes()).await;
            entry.finish(None).await?;
        } else {
            script = Some(entry);
        }
        line.clear();
    }
    if let Some(entry) = script {
        entry.finish(None).await?;
    }
    dump.finish().await?;
    Ok(scripts)
}

/// Directory of the scripts below their database's.
pub(super) const DIRECTORY: &str = "large-objects/";

/// Path of a script below its database's directory.
pub(super) fn script_path(number: u64) -> String {
    format!("{DIRECTORY}{number:06}.sql")
}

/// Follows the dump line by line, so that it can be cut between two pieces of one object and joined again.
#[derive(Default)]
struct Splitter {
    /// Our sessions' settings and those from the dump's head, which every script repeats.
    settings: String,
    /// The `\restrict` line's token.
    token: Option<String>,
    /// The quote that a text or a name began with and that has not come again.
    quote: Option<u8>,
    in_transaction: bool,
    /// The object being written, and the bytes of it written so far.
    object: Option<(String, u64)>,
}

impl Splitter {
    /// Takes a line; true where the dump may be cut after it.
    fn take(&mut self, line: &[u8]) -> bool {
        let text = std::str::from_utf8(line).unwrap_or_default().trim_end_matches('\n');
        let inside = self.quote.is_some();
        if !inside && text.starts_with("--") {
            return false;
        }
        // A doubled quote inside ends a text and begins the next one, which comes to the same.
        for position in memchr::memchr2_iter(b'\'', b'"', line) {
            self.quote = match self.quote {
                None => Some(line[position]),
                Some(quote) if quote == line[position] => None,
                inside => inside,
            };
        }
        if inside || self.quote.is_some() {
            return false;
        }
        if let Some(token) = text.strip_prefix("\\restrict ") {
            self.token = Some(token.into());
        } else if text.starts_with("SET ") || text.starts_with("SELECT pg_catalog.set_config(") {
            self.settings.push_str(text);
            self.settings.push('\n');
        } else if text == "BEGIN;" {
            self.in_transaction = true;
        } else if text == "COMMIT;" {
            self.in_transaction = false;
        } else if let Some(rest) = text.strip_prefix("SELECT pg_catalog.lo_open('") {
            self.object = rest.split_once('\'').map(|(oid, _)| (oid.to_owned(), 0));
        } else if let Some(rest) = text.strip_prefix("SELECT pg_catalog.lowrite(0, '\\x") {
            if let Some((_, written)) = &mut self.object {
                *written += (rest.find('\'').unwrap_or(0) / 2) as u64;
            }
            return self.in_transaction;
        } else if text.starts_with("SELECT pg_catalog.lo_close(") {
            self.object = None;
            return self.in_transaction;
        }
        false
    }

    /// What ends a script here.
    fn close(&self) -> String {
        let mut text = String::new();
        if self.object.is_some() {
            text.push_str("SELECT pg_catalog.lo_close(0);\n");
        }
        text.push_str("COMMIT;\n");
        if let Some(token) = &self.token {
            text.push_str(&format!("\\unrestrict {token}\n"));
        }
        text
    }

    /// What begins the next script where the last one ended.
    fn reopen(&self) -> String {
        let mut text = String::new();
        if let Some(token) = &self.token {
            text.push_str(&format!("\\restrict {token}\n"));
        }
        text.push_str(&self.settings);
        if self.in_transaction {
            text.push_str("BEGIN;\n");
        }
        if let Some((oid, written)) = &self.object {
            text.push_str(&format!(
                "SELECT pg_catalog.lo_open('{oid}', 131072);\nSELECT pg_catalog.lo_lseek64(0, {written}, 0);\n"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_inside_an_object_is_joined_at_the_same_byte() {
        let mut splitter = Splitter::default();
        let lines = [
            "\\restrict abc\n",
            "SET x = 1;\n",
            "ALTER LARGE OBJECT 7 OWNER TO \"o'brien\";\n",
            "COMMENT ON LARGE OBJECT 7 IS 'it''s \"\n",
            "COMMIT;\n",
            "BEGIN;\n",
            "';\n",
            "BEGIN;\n",
            "SELECT pg_catalog.lo_open('7', 131072);\n",
            "SELECT pg_catalog.lowrite(0, '\\x00ff00');\n",
        ];
        let cuts: Vec<bool> = lines.iter().map(|line| splitter.take(line.as_bytes())).collect();
        assert_eq!(cuts.iter().filter(|cut| **cut).count(), 1);
        assert_eq!(splitter.close(), "SELECT pg_catalog.lo_close(0);\nCOMMIT;\n\\unrestrict abc\n");
        assert_eq!(
            splitter.reopen(),
            "\\restrict abc\nSET x = 1;\nBEGIN;\nSELECT pg_catalog.lo_open('7', 131072);\nSELECT pg_catalog.lo_lseek64(0, 3, 0);\n"
        );
    }
}
