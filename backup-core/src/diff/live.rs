//! The picture that the live system gives.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::rows::{self, Pair, Rows, Side};
use super::{Area, HOLES, Picture};
use crate::backup::Settings;
use crate::bundle::manifest::postgres::Table;
use crate::bundle::pack::cores;
use crate::bundle::path;
use crate::bundle::reader::OpenBundle;
use crate::component::control_plane;
use crate::component::files::Tree;
use crate::component::postgres::ReadyPostgres;
use crate::component::postgres::{self, Content, DatabaseFacts, Live};
use crate::{Context, ErrorContext, Result};

/// The picture of this machine, as a backup with these settings would see it; with a bundle, what its rows differ in, too.
///
/// # Errors
/// The first thing that can't be seen.
pub async fn of_live(
    settings: &Settings,
    bundle: Option<&Arc<OpenBundle>>,
    context: &Context,
) -> Result<(Picture, Option<Rows>)> {
    let mut picture = Picture::default();
    picture.note_cluster(&settings.cluster);
    if let Some(origin) = &settings.release {
        picture.note(Area::Release, "release", control_plane::find(Some(origin)).await?.version);
    }
    let server = postgres::find(&settings.postgres(&settings.databases), context).await?;
    let jobs = settings.jobs.unwrap_or_else(cores);
    let mut rows = bundle.map(|_| Rows::default());
    for facts in &server.databases {
        picture.note(Area::Database, &facts.name, format!("owner {}", facts.owner));
        let doing = || format!("look into database {}", facts.name);
        let content = match place(bundle, facts, rows.as_mut())? {
            Some((bundle, database)) => {
                let live = Live::open(&server, &facts.name, &bundle.manifest().databases[database]).await;
                let live = live.context(doing)?;
                let (tables, extensions) = (live.tables()?, live.extensions().await?);
                let (bundle, other) = (bundle.clone(), Side::Live(Box::new(live)));
                let pair = Pair { bundle, database, other, jobs, context };
                let counts = pair.compare(rows.get_or_insert_default()).await.context(doing)?;
                let tables = tables.into_iter().zip(counts);
                let tables = tables.map(|(table, rows)| Table { schema: table.schema, name: table.name, rows });
                Content { extensions, tables: tables.collect() }
            }
            None => counted(&server, facts, context).await.context(doing)?,
        };
        for extension in content.extensions {
            picture.note(Area::Extension, format!("{}: {}", facts.name, extension.name), extension.version);
        }
        for table in content.tables {
            let subject = format!("{}: {}.{}", facts.name, table.schema, table.name);
            picture.note(Area::Table, subject, table.rows.to_string());
        }
    }
    for tree in &settings.files {
        note_tree(&mut picture, tree)?;
    }
    Ok((picture, rows))
}

/// What a database holds, its rows counted.
async fn counted(server: &ReadyPostgres, facts: &DatabaseFacts, context: &Context) -> Result<Content> {
    context.phase(format!("count the rows of database {}", facts.name));
    postgres::content(&server.tools, &server.parameters.with_database(&facts.name)).await
}

/// Where the bundle has a database of this name whose rows can be compared; `rows` says so where they can't.
fn place<'b>(
    bundle: Option<&'b Arc<OpenBundle>>,
    facts: &DatabaseFacts,
    rows: Option<&mut Rows>,
) -> Result<Option<(&'b Arc<OpenBundle>, usize)>> {
    let (Some(bundle), Some(rows)) = (bundle, rows) else { return Ok(None) };
    let place = bundle.manifest().databases.iter().position(|database| database.name == facts.name);
    let Some(place) = place else { return Ok(None) };
    let problem = rows::with_live(bundle, place, &facts.encoding)?;
    let comparable = problem.is_none();
    rows.databases.extend(problem);
    Ok(comparable.then_some((bundle, place)))
}

fn note_tree(picture: &mut Picture, tree: &Tree) -> Result<()> {
    let doing = || format!("read files {}", tree.path.display());
    let root = tree.path.canonicalize().context(doing)?;
    let below = |path: &Path| path.strip_prefix(&root).map(Path::to_owned).unwrap_or_default();
    let kept = |entry: &DirEntry| entry.depth() == 0 || !tree.leaves_out(&below(entry.path()));
    let walk = WalkDir::new(&root).into_iter().filter_entry(kept);
    for entry in walk {
        let entry = entry.context(doing)?;
        let shown = path::to_text(entry.path().as_os_str().as_encoded_bytes());
        if entry.file_type().is_symlink() {
            let target = std::fs::read_link(entry.path()).context(doing)?;
            picture.note(
                Area::File,
                shown,
                format!("link to {}", path::to_text(target.as_os_str().as_encoded_bytes())),
            );
        } else if entry.file_type().is_file() {
            let metadata = entry.metadata().context(doing)?;
            if metadata.blocks() * 512 < metadata.len() {
                picture.note(Area::File, shown, HOLES);
                continue;
            }
            let mut digest = Sha256::new();
            let mut file = File::open(entry.path()).context(|| format!("read {shown}"))?;
            let size = io::copy(&mut file, &mut digest).context(|| format!("read {shown}"))?;
            picture.note(Area::File, shown, format!("{size} bytes, sha256 {}", hex::encode(digest.finalize())));
        }
    }
    Ok(())
}
