//! `show`.

use std::path::Path;
use std::process::ExitCode;

use backup_core::bundle::manifest::postgres::Database;
use backup_core::bundle::manifest::{Entry, Manifest, Section};
use backup_core::catalog;
use backup_core::finding::Finding;
use backup_core::keep::Keep;
use backup_core::names::renamed;
use backup_core::store::{Access, Address, blocking};
use backup_core::{Context, Result};
use serde::Serialize;

use crate::output::{self, Output};
use crate::{exit, findings, human};

/// The manifest, its entries only where they were asked for.
#[derive(Serialize)]
struct Shown<'m> {
    length: u64,
    notes: Vec<Finding>,
    /// The record that keeps it, whether it still does or not.
    keep: Option<Keep>,
    #[serde(flatten)]
    manifest: &'m Manifest,
}

pub(crate) async fn run(
    path: &Path,
    entries: bool,
    access: &Access,
    output: &Output,
    context: &Context,
) -> Result<ExitCode> {
    let bundle = access.open(path, context).await?;
    let manifest = bundle.manifest();
    let length = bundle.footer().bundle_length;
    let mut text = head(manifest, length);
    let mut notes: Vec<Finding> = renamed(path, &manifest.name).into_iter().collect();
    let keep = kept(path, access, context).await.unwrap_or_else(|error| {
        let message = format!("{}: {}", catalog::UNREAD, error.chain().join(": "));
        notes.push(Finding::warning("keep-unread", path.display().to_string(), message));
        None
    });
    let holds = keep.as_ref().filter(|keep| keep.holds(context.now()));
    text.extend(holds.map(|keep| format!("  {}\n", human::plain(&keep.shown()))));
    text.extend(notes.iter().map(findings::finding));
    manifest.databases.iter().for_each(|database| text.push_str(&describe(database)));
    manifest.components.iter().for_each(|section| text.push_str(&component(section, manifest)));
    text.push_str(&files(manifest));
    if !manifest.needs.is_empty() {
        text.push_str(&format!("\n{}", findings::needs(&manifest.needs).replacen("not", "Not", 1)));
    }
    if !manifest.warnings.is_empty() {
        text.push_str("\nWarnings of the backup\n");
        manifest.warnings.iter().for_each(|warning| text.push_str(&findings::finding(warning)));
    }
    if entries {
        text.push_str("\nEntries\n");
        text.push_str(&table(&["SIZE", "STORED", "PATH"], &[0, 1], manifest.entries.iter().map(row)));
    }
    text.push_str(&restore(path, manifest));
    let mut manifest = bundle.into_manifest();
    if !entries {
        manifest.entries.clear();
    }
    output.result("show", &Shown { length, notes, keep, manifest: &manifest }, &text)?;
    Ok(exit::done(false))
}

/// The record that keeps it, if its store has one.
async fn kept(path: &Path, access: &Access, context: &Context) -> Result<Option<Keep>> {
    let (path, access, context) = (path.to_owned(), access.clone(), context.clone());
    let look = move || match access.place(&path, &context)? {
        Some((store, name)) => catalog::kept(&*store, &name),
        None => Ok(None),
    };
    blocking(look).await
}

fn row(entry: &Entry) -> [String; 3] {
    let link = entry.link.as_ref().map(|link| format!(" -> {link}")).unwrap_or_default();
    [human::count(entry.size), human::count(entry.stored), format!("{}{link}", entry.path)]
}

fn head(manifest: &Manifest, length: u64) -> String {
    let source = &manifest.source;
    let mut text = format!("{}\n", manifest.name);
    let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<11}{}\n", human::plain(&value)));
    line(
        "made",
        format!("{} by {} on {}", manifest.created.format("%Y-%m-%d %H:%M:%S UTC"), manifest.tool, source.host),
    );
    let epoch = source.ownership.as_ref().filter(|ownership| ownership.epoch > 0);
    let epoch = epoch.map_or_else(String::new, |ownership| format!(", epoch {}", ownership.epoch));
    line("cluster", format!("{}{epoch}", source.cluster.as_deref().unwrap_or("(no name)")));
    match manifest.component() {
        None => line("release", source.release.clone().unwrap_or_else(|| "(unknown)".into())),
        Some(component) => {
            let group = source.group.as_ref().map_or_else(String::new, |group| format!(" of {group}"));
            line("component", format!("{component}{group}"));
        }
    }
    if let Some(server) = &source.postgres {
        line("PostgreSQL", format!("{}, pg_dump {}", server.version, server.pg_dump));
    }
    if source.partial {
        line("partial", "some of the databases alone, as was asked for".into());
    }
    line("size", format!("{} for {} of content", human::bytes(length), human::bytes(manifest.content())));
    text
}

fn component(section: &Section, manifest: &Manifest) -> String {
    let root = format!("{}/", section.root());
    let bytes = manifest.entries.iter().filter(|entry| entry.path.starts_with(&root)).map(|entry| entry.size).sum();
    format!(
        "\nComponent {}\n  kind {}\n  as of {}\n  {}, {}\n",
        section.id,
        human::plain(&section.kind),
        section.as_of.format("%Y-%m-%d %H:%M:%S UTC"),
        human::items(&section.items),
        human::bytes(bytes),
    )
}

fn describe(database: &Database) -> String {
    let mut text = format!(
        "\nDatabase {}\n  owner {}, {} {}, {} on disk\n  as of {}{}\n",
        database.name.escape_debug(),
        database.owner.escape_debug(),
        human::plain(&database.encoding),
        human::plain(database.locale.name.as_deref().unwrap_or(&database.locale.collate)),
        human::bytes(database.size),
        database.snapshot.time.format("%Y-%m-%d %H:%M:%S UTC"),
        database.snapshot.wal.as_ref().map(|wal| human::plain(&format!(", WAL {wal}"))).unwrap_or_default(),
    );
    if !database.extensions.is_empty() {
        let names: Vec<String> = database.extensions.iter().map(|e| format!("{} {}", e.name, e.version)).collect();
        text.push_str(&format!("  extensions {}\n", human::plain(&names.join(", "))));
    }
    text.push_str(&format!(
        "  {} in {}, {}, {}\n",
        human::counted(database.rows(), "row"),
        human::counted(database.tables.len() as u64, "table"),
        human::counted(database.sequences, "sequence"),
        human::counted(database.large_objects, "large object"),
    ));
    let tables = database.tables.iter().map(|table| {
        [human::count(table.rows), format!("{}.{}", table.schema.escape_debug(), table.name.escape_debug())]
    });
    text.push_str(&table(&["ROWS", "TABLE"], &[0], tables));
    text
}

fn files(manifest: &Manifest) -> String {
    let files: Vec<&Entry> = manifest.entries.iter().filter(|entry| entry.path.starts_with("files/")).collect();
    if files.is_empty() {
        return String::new();
    }
    let size = files.iter().map(|entry| entry.size).fold(0, u64::saturating_add);
    format!("\nFiles\n  {} with {}\n", human::counted(files.len() as u64, "entry"), human::bytes(size))
}

/// A table's lines, indented below their heading.
fn table<const N: usize>(header: &[&str; N], right: &[usize], rows: impl Iterator<Item = [String; N]>) -> String {
    output::table(header, right, rows).iter().map(|line| format!("  {line}\n")).collect()
}

/// What unpacks a bundle without this tool.
fn unpack(path: &Path) -> String {
    let whole = path.display().to_string();
    let remote = Address::is_remote(&whole);
    // What brings it here knows the way as well as we do.
    let here = if remote { whole.rsplit(['/', ':']).next().unwrap_or_default() } else { &whole };
    let file = human::shell_word(Path::new(here));
    let of_rclone =
        whole.strip_prefix("rclone:").map(|place| format!("rclone copy {} . && ", human::shell_word(Path::new(place))));
    let fetch = match whole.split_once("://") {
        _ if of_rclone.is_some() => of_rclone.unwrap_or_default(),
        Some(("s3", _)) => format!("aws s3 cp {} . && ", human::shell_word(path)),
        Some(_) => format!("{} && ", fetch_by_sftp(path)),
        None => String::new(),
    };
    match here.ends_with(".age") {
        true => format!("{fetch}age -d -i IDENTITY {file} | tar xz"),
        false => format!("{fetch}tar xzf {file}"),
    }
}

/// OpenSSH reads the path of a URL in another way than it writes one.
fn fetch_by_sftp(path: &Path) -> String {
    let Ok(Some((Address::Sftp(address), name))) = Address::of_bundle(path) else { return String::new() };
    let port = address.port.map(|port| format!("-P {port} ")).unwrap_or_default();
    let user = address.user.map(|user| format!("{user}@")).unwrap_or_default();
    let directory = address.path.trim_start_matches("~/").trim_end_matches('/');
    let whole = format!("{user}{}:{directory}/{name}", address.host);
    format!("sftp {port}{}", human::shell_word(Path::new(&whole)))
}

fn restore(path: &Path, manifest: &Manifest) -> String {
    let mut text = format!("\nTo restore it by hand\n  {} && cd {}\n", unpack(path), manifest.name);
    text.push_str("  psql -X -v ON_ERROR_STOP=1 -d postgres -f databases/globals.sql\n");
    for database in &manifest.databases {
        text.push_str(&format!("  psql -X -d postgres -f 'databases/{}.sql'\n", database.directory));
    }
    text.push_str("  README.txt in it says more\n");
    text
}
