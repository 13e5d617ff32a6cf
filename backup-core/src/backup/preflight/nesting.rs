//! What lies among the captured files and should not: a restore puts a tree in its place as a whole, so what is in it steps aside.

use std::path::{Path, PathBuf};

use super::ReadyComponent;
use crate::component::Staying;
use crate::component::files::Tree;
use crate::finding::{Finding, Findings};
use crate::{Context, state};

const NARROWER: &str = "name only the needed parts in [[files]], each with its own path; an exclude is not enough";

/// Looks for what no restore may take along: the state directory, and what a running server needs.
pub(super) async fn look(trees: &[Tree], components: &[ReadyComponent], context: &Context, findings: &mut Findings) {
    if trees.is_empty() {
        return;
    }
    let mut staying: Vec<Staying> =
        state::directory(context).into_iter().map(|path| Staying::new(path, "the journals of restores")).collect();
    for component in components {
        staying.extend(component.ready.covers().await);
    }
    for tree in trees {
        // Of a link both come back: itself, and what it leads to.
        let real = tree.path.canonicalize().unwrap_or_else(|_| tree.path.clone());
        let goes = |staying: &&Staying| [&tree.path, &real].into_iter().any(|path| staying.goes_along_with(path));
        for staying in staying.iter().filter(goes) {
            let message = format!(
                "the tree holds {} ({}), so a restore can't put the tree back",
                staying.path.display(),
                staying.what
            );
            let finding = Finding::warning("files-not-restorable", tree.path.display().to_string(), message);
            findings.all.push(finding.hint(NARROWER));
        }
    }
}

/// Bundles that lie among the captured files would each hold all that came before.
pub(super) fn look_for_bundles(directory: &Path, trees: &[Tree], findings: &mut Findings) {
    let Some(real) = directory.ancestors().find_map(|path| path.canonicalize().ok()) else { return };
    for tree in trees {
        let Some(below) =
            tree.path.canonicalize().ok().and_then(|tree| real.strip_prefix(tree).ok().map(PathBuf::from))
        else {
            continue;
        };
        let (tree, excluded) = (tree.path.display(), below.ancestors().any(|path| tree.leaves_out(path)));
        let shown = directory.display().to_string();
        findings.all.push(if excluded {
            let message = format!("the store lies in {tree}: a restore can't put {tree} back while bundles are there");
            Finding::info("destination-in-files", shown, message).hint(NARROWER)
        } else {
            let message =
                format!("the store lies in {tree}, which is backed up: every bundle would hold all bundles before it");
            Finding::warning("destination-captured", shown, message)
                .hint("exclude the store in [[files]], or name another place with --to")
        });
    }
}
