//! What must stay where it is while files are put back: a place that steps aside would take it along.

use super::Request;
use super::Settings;
use crate::component::files::Placement;
use crate::component::postgres::connection::{Connection, connect, connect_first};
use crate::component::postgres::{Target, administrative, directories};
use crate::component::{Look, Staying};
use crate::finding::Finding;
use crate::store::Address;
use crate::{Context, Error, Kind, Result, state};

/// Refuses places that would take along what the restore itself needs, bundles, or a running server.
pub(super) async fn look(
    files: &[Placement],
    request: &Request,
    settings: &Settings,
    target: Option<&Target>,
    Look { context, findings }: &mut Look<'_>,
) {
    let mut staying = ours(request, settings, context);
    // Under a link or a directory there may be a server; a file has none below it.
    if files.iter().any(|file| file.before.is_some() && !file.place.is_file()) {
        match servers(settings, target, context).await {
            Ok(found) => staying.extend(found),
            Err(error) => {
                let message = format!(
                    "whether a running server has its data in what steps aside is not known: {}",
                    error.chain().join(": ")
                );
                findings.all.push(Finding::unknown("server-not-asked", "PostgreSQL", message));
            }
        }
    }
    for file in files {
        let along: Vec<&Staying> = staying.iter().filter(|staying| staying.goes_along_with(&file.place)).collect();
        if along.is_empty() {
            continue;
        }
        let shown = file.place.display().to_string();
        let list = along.iter().map(|staying| format!("{} ({})", staying.path.display(), staying.what));
        let message = format!("put {shown} in its place: it would take along what must stay: ");
        let error = Error::new(Kind::Refused, message + &list.collect::<Vec<_>>().join(", "));
        let state = along.iter().any(|staying| staying.what == STATE);
        let hint = if state { format!("{STATE_ELSEWHERE}; or {ELSEWHERE}") } else { ELSEWHERE.into() };
        findings.keep::<()>("file-takes-along", &shown, Err(error.hint(hint)));
    }
}

const STATE: &str = "the journals of restores";
const STATE_ELSEWHERE: &str =
    "set STATE_DIRECTORY to a directory outside of it, for this restore and for its rollback and cleanup";
const ELSEWHERE: &str = "move it out of there; or name another place with --root and copy from there, or restore the \
    databases alone with --only databases";

/// The state directory, what is restored, and the stores of this machine.
fn ours(request: &Request, settings: &Settings, context: &Context) -> Vec<Staying> {
    let state = state::directory(context).ok().map(|path| Staying::new(path, STATE));
    let given = [Some(&request.file), request.cluster_conf.as_ref()].into_iter().flatten();
    let given = given.map(|path| Staying::new(path, "what is restored"));
    let stores = settings.access.stores.iter().filter_map(|store| match &store.address {
        Address::Directory(path) => Some(Staying::new(path, "a store of bundles")),
        _ => None,
    });
    state.into_iter().chain(given).chain(stores).collect()
}

/// What the server needs that the databases are restored into, or that the settings name.
async fn servers(settings: &Settings, target: Option<&Target>, context: &Context) -> Result<Vec<Staying>> {
    let connection: Connection = match target {
        Some(target) => connect(&target.parameters).await?,
        None => {
            let parameters = settings.connection.parameters(&context.environment)?;
            connect_first(&parameters, administrative(std::iter::empty())).await?.0
        }
    };
    directories(&connection).await
}
