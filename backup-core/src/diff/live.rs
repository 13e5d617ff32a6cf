//! The picture that the live system gives.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sha2::{Digest, Sha256};
use walkdir::{DirEntry, WalkDir};

use super::{Area, HOLES, Picture};
use crate::bundle::path;
use crate::component::files::Tree;
use crate::component::postgres;
use crate::component::release;
use crate::preflight::find_postgres;
use crate::settings::Settings;
use crate::{Context, ErrorContext, Result};

/// The picture of this machine, as a backup with these settings would see it.
///
/// # Errors
/// The first thing that can't be seen.
pub async fn of_live(settings: &Settings, context: &Context) -> Result<Picture> {
    let mut picture = Picture::default();
    picture.note_cluster(&settings.cluster);
    if let Some(origin) = &settings.release {
        picture.note(Area::Release, "release", release::find(Some(origin)).await?.version);
    }
    let server = find_postgres(settings, context).await?;
    for facts in &server.databases {
        context.phase(format!("count the rows of database {}", facts.name));
        let parameters = server.parameters.with_database(&facts.name);
        picture.note(Area::Database, &facts.name, format!("owner {}", facts.owner));
        let content = postgres::content(&server.tools, &parameters).await;
        let content = content.context(|| format!("look into database {}", facts.name))?;
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
    Ok(picture)
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
