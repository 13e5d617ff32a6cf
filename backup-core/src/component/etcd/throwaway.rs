//! An etcd for a while: behind walls, without a network port, gone with the value that holds it.

use std::fs;
use std::os::unix::fs::lchown;
use std::sync::Arc;

use super::OneEtcd;
use super::behalf::Behalf;
use super::own::Own;
use crate::component::walls::Walls;
use crate::component::{Room, Stored, Throwaway};
use crate::{ErrorContext, Result};

/// Makes and starts one, with nothing in it.
pub(super) async fn start(stored: &Stored, room: &Room<'_>) -> Result<Throwaway> {
    let doing = || format!("start a throw-away etcd in {}", room.place.display());
    let [root, own] = ["root", "own"].map(|name| room.place.join(name));
    for directory in [&root, &own] {
        fs::create_dir(directory).context(doing)?;
    }
    let walls =
        Walls::raise(&root, std::slice::from_ref(&own), (&[], &[]), room.limits, &room.context.environment).await?;
    if let Some((user, group)) = walls.account {
        lchown(&own, Some(user), Some(group)).context(doing)?;
    }
    let unproved = walls.open.clone().into_iter().collect();
    let own = Arc::new(Own::prepare(own, "data", Arc::new(Behalf::Walls(Box::new(walls)))).await.context(doing)?);
    let server = own.server();
    server.start(room.context).await.context(doing).map_err(|error| {
        error.hint("a drill needs etcd and etcdctl among the system's programs: install etcd on this machine")
    })?;
    let component = Arc::new(OneEtcd { id: stored.section.id.clone(), server: Arc::new(server), scratch: None });
    Ok(Throwaway { component, guard: Box::new(own), unproved })
}
