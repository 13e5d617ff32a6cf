//! What must stay where it is while something is put in its place: what steps aside would take it along.

use std::path::PathBuf;

use super::parts::Candidate;
use super::{Request, Settings};
use crate::component::{Look, Staying};
use crate::names::ComponentId;
use crate::store::Address;
use crate::{Context, Error, Kind, state};

/// Refuses places that would take along what the restore itself needs, bundles, or a running server; each is that of a component, which
/// knows what becomes of its own.
pub(super) async fn look(
    places: &[(ComponentId, PathBuf)],
    candidates: &[Candidate],
    request: &Request,
    settings: &Settings,
    look: &mut Look<'_>,
) {
    let ours = ours(request, settings, look.context).into_iter();
    let mut staying: Vec<(Option<&ComponentId>, Staying)> = ours.map(|staying| (None, staying)).collect();
    // Under a link or a directory there may be a server; a file has none below it.
    if places.iter().any(|(_, place)| place.symlink_metadata().is_ok() && !place.is_file()) {
        for component in candidates.iter().filter_map(Candidate::component) {
            let found = component.staying(look).await.into_iter();
            staying.extend(found.map(|staying| (Some(component.id()), staying)));
        }
    }
    for (id, place) in places {
        let others = staying.iter().filter(|(of, _)| *of != Some(id)).map(|(_, staying)| staying);
        let along: Vec<&Staying> = others.filter(|staying| staying.goes_along_with(place)).collect();
        if along.is_empty() {
            continue;
        }
        let shown = place.display().to_string();
        let list = along.iter().map(|staying| format!("{} ({})", staying.path.display(), staying.what));
        let message = format!("put {shown} in its place: it would take along what must stay: ");
        let error = Error::new(Kind::Refused, message + &list.collect::<Vec<_>>().join(", "));
        let state = along.iter().any(|staying| staying.what == STATE);
        let elsewhere = if id.as_str() == ComponentId::FILES { FILES_ELSEWHERE } else { ELSEWHERE };
        let hint = if state { format!("{STATE_ELSEWHERE}; or {elsewhere}") } else { elsewhere.into() };
        look.findings.keep::<()>("file-takes-along", &shown, Err(error.hint(hint)));
    }
}

const STATE: &str = "the journals of restores";
const STATE_ELSEWHERE: &str =
    "set STATE_DIRECTORY to a directory outside of it, for this restore and for its rollback and cleanup";
const ELSEWHERE: &str = "move it out of there";
const FILES_ELSEWHERE: &str = "move it out of there; or name another place with --root and copy from there, or restore the \
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
