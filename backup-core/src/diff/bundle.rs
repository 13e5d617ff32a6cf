//! The picture that a bundle gives.

use std::path::Path;

use super::{Area, HOLES, Picture};
use crate::bundle::manifest::FileType;
use crate::bundle::reader::OpenBundle;
use crate::cluster::ClusterConf;
use crate::component::files::{There, placements};
use crate::{ErrorContext, Result};

/// The picture of a bundle.
///
/// # Errors
/// Where its `cluster.conf` can't be read.
pub fn of_bundle(bundle: &OpenBundle) -> Result<Picture> {
    let manifest = bundle.manifest();
    let mut picture = Picture::default();
    // A component's has none.
    if manifest.component().is_none() {
        let doing = || "read the bundle's cluster.conf".to_owned();
        picture.note_cluster(&ClusterConf::read(&bundle.content("cluster.conf")?).context(doing)?);
    }
    if let Some(release) = &manifest.source.release {
        picture.note(Area::Release, "release", release);
    }
    for database in &manifest.databases {
        let name = &database.name;
        picture.note(Area::Database, name, format!("owner {}", database.owner));
        for extension in &database.extensions {
            picture.note(Area::Extension, format!("{name}: {}", extension.name), &extension.version);
        }
        for table in &database.tables {
            picture.note(Area::Table, format!("{name}: {}.{}", table.schema, table.name), table.rows.to_string());
        }
    }
    for entry in &manifest.entries {
        let Some(path) = entry.path.strip_prefix("files").filter(|path| path.starts_with('/')) else { continue };
        let original = entry.link.as_ref().filter(|_| entry.kind == FileType::Hardlink);
        let original = original.and_then(|link| manifest.entries.iter().find(|other| other.path == *link));
        let entry = original.unwrap_or(entry);
        match entry.kind {
            FileType::File => picture.note(Area::File, path, format!("{} bytes, sha256 {}", entry.size, entry.sha256)),
            FileType::Symlink => {
                picture.note(Area::File, path, format!("link to {}", entry.link.as_deref().unwrap_or_default()));
            }
            FileType::Sparse => picture.note(Area::File, path, HOLES),
            FileType::Directory | FileType::Hardlink => {}
        }
    }
    let placements = placements(&There::of(manifest), Path::new("/"), "");
    let trees = placements.iter().filter_map(|placement| placement.entry.strip_prefix("files"));
    picture.trees = trees.filter(|tree| tree.starts_with('/')).map(Into::into).collect();
    Ok(picture)
}
