//! An etcd for a while: behind walls, without a network port, gone with the value that holds it.

use std::sync::Arc;

use super::OneEtcd;
use super::behalf::Behalf;
use super::own::Own;
use crate::component::{Room, Stored, Throwaway};
use crate::{ErrorContext, Result};

/// Makes and starts one, with nothing in it.
pub(super) async fn start(stored: &Stored, room: &Room<'_>) -> Result<Throwaway> {
    let doing = || format!("start a throw-away etcd in {}", room.place.display());
    let (walls, own) = room.walls(doing).await?;
    let unproved = walls.open.clone().into_iter().collect();
    let own = Arc::new(Own::prepare(own, "data", Arc::new(Behalf::Walls(Box::new(walls)))).await.context(doing)?);
    let server = own.server();
    server.start(room.context).await.context(doing).map_err(|error| {
        error.hint("a drill needs etcd and etcdctl among the system's programs: install etcd on this machine")
    })?;
    let component = Arc::new(OneEtcd { id: stored.section.id.clone(), server: Arc::new(server), scratch: None });
    Ok(Throwaway { component, guard: Box::new(own), unproved })
}
