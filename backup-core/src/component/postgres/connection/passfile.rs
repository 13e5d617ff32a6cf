//! `.pgpass`: `host:port:database:user:password`, the first line that matches counts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cluster::secret::Secret;
use crate::finding::Finding;

/// What the password is looked up for.
pub(super) struct Wanted<'w> {
    pub(super) host: &'w str,
    pub(super) port: &'w str,
    pub(super) database: &'w str,
    pub(super) user: &'w str,
}

/// The password for a connection, if the file has one. A file that others may read is left alone, as libpq does.
pub(super) fn look_up(path: &Path, wanted: &Wanted<'_>) -> Result<Option<Secret>, Finding> {
    let Ok(metadata) = fs::metadata(path) else { return Ok(None) };
    let shown = path.display().to_string();
    if !metadata.is_file() {
        return Err(Finding::warning("passfile-ignored", shown, "the password file is no regular file and is ignored"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Finding::warning(
            "passfile-ignored",
            &shown,
            "the password file can be read by others and is ignored",
        )
        .hint(format!("chmod 0600 {shown}")));
    }
    let text = match fs::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(cause) => {
            return Err(Finding::warning(
                "passfile-ignored",
                shown,
                format!("the password file can't be read: {cause}"),
            ));
        }
    };
    Ok(text.lines().find_map(|line| password(line, wanted)))
}

fn password(line: &str, wanted: &Wanted<'_>) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = fields(line).into_iter();
    for value in [wanted.host, wanted.port, wanted.database, wanted.user] {
        let (field, escaped) = fields.next()?;
        if field != value && (field != "*" || escaped) {
            return None;
        }
    }
    fields.next().map(|(password, _)| Secret::new(password))
}

/// The fields with their escapes resolved, and whether one had any: `\*` is a star, `*` is anything.
fn fields(line: &str) -> Vec<(String, bool)> {
    let mut fields = vec![(String::new(), false)];
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        let count = fields.len();
        let Some(field) = fields.last_mut() else { break };
        match c {
            '\\' => {
                field.0.extend(characters.next());
                field.1 = true;
            }
            // The password is the last field, and a colon in it needs no escape.
            ':' if count < 5 => fields.push((String::new(), false)),
            c => field.0.push(c),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str) -> Option<String> {
        let wanted = Wanted { host: "db", port: "5432", database: "o*", user: "ops" };
        file.lines().find_map(|line| password(line, &wanted)).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        assert_eq!(found("# db:5432:o*:ops:no\nother:*:*:*:no\n*:*:o\\*:ops:one\n*:*:*:*:two").as_deref(), Some("one"));
        assert_eq!(found("\\*:*:*:*:no\ndb:5432:*:*:a\\:b\\\\c").as_deref(), Some("a:b\\c"));
        assert_eq!(found("db:5432:*:ops"), None);
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), "*:*:*:*:hunter2").expect("written");
        let wanted = Wanted { host: "db", port: "5432", database: "x", user: "ops" };
        let mode = |mode| fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).expect("a mode");
        mode(0o640);
        assert_eq!(look_up(file.path(), &wanted).expect_err("ignored").code, "passfile-ignored");
        mode(0o600);
        assert!(look_up(file.path(), &wanted).expect("read").is_some());
    }
}
