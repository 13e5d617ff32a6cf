//! The `restore` command of the tests of crashes: it kills itself right after its n-th mark was noted in the journal.
//!
//! `interrupted N restore BUNDLE` or `restore SCRIPT CLUSTER_CONF PLACE`, `interrupted N resume [ACCEPTED…]`, `interrupted N rollback`
//! and `interrupted N cleanup`, by the settings that CONFIG names; `interrupted N deploy CONFIG` and `interrupted N resume-deploy CONFIG`. N = 0 lets it come to its end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use backup_core::component::control_plane::Origin;
use backup_core::context::Environment;
use backup_core::deploy;
use backup_core::event::{Event, Observer};
use backup_core::restore::{self, Moved, Request};
use backup_core::settings::{self, Known};
use backup_core::{Context, Error, Kind, Result};

/// Kills the process at a mark, as a power cut would.
struct KillAt {
    mark: usize,
    seen: AtomicUsize,
}

impl Observer for KillAt {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Step { .. }) && self.seen.fetch_add(1, SeqCst) + 1 == self.mark {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal may come to another thread first; nothing may be done meanwhile.
            loop {
                std::thread::park();
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let variables = std::env::vars().collect();
    let mut context = Context::new(Environment { variables, ..Environment::default() });
    let mark = words.first().and_then(|number| number.parse().ok()).unwrap_or(0);
    context.observer = Arc::new(KillAt { mark, seen: AtomicUsize::new(0) });
    let config = context.environment.get("CONFIG").map(Path::new);
    let mut settings = settings::load_restore(config, &Known::default())?;
    match words.get(1..).unwrap_or_default() {
        ["restore", file, pair @ ..] => {
            let release = Some(Origin::Given("2.6.3".into()));
            settings.cluster_conf = pair.get(1).map(Into::into).or(settings.cluster_conf);
            let cluster_conf = pair.first().map(Into::into);
            let request = Request {
                file: file.into(),
                cluster_conf,
                release,
                jobs: Some(2),
                allow_old_clients: true,
                ..Request::default()
            };
            restore::prepare(&request, &settings, &context).await?.apply(&context).await.map(drop)
        }
        ["resume", accepted @ ..] => {
            let accepted: Vec<String> = accepted.iter().map(|name| (*name).into()).collect();
            let moved = Moved { accept_missing: &accepted, ..Moved::default() };
            restore::current(&context)?.resume(moved, &settings, &context).await.map(drop)
        }
        ["rollback"] => restore::current(&context)?.rollback(&settings, &context).await.map(drop),
        ["deploy", config] => {
            let settings = settings::load(config.as_ref(), &Known::default())?;
            let graph = deploy::graph(&settings.backup.cluster, &settings.deploy.components)
                .map_err(|_| Error::new(Kind::Usage, "a bad cluster.conf"))?;
            let prepared = deploy::prepare(&deploy::Request::default(), &settings.backup, graph, &context).await?;
            all_deployed(&prepared.apply(&settings.backup, &context).await?)
        }
        ["resume-deploy", config] => {
            let settings = settings::load(config.as_ref(), &Known::default())?;
            all_deployed(&deploy::resume(&deploy::Request::default(), &settings.backup, &context).await?)
        }
        ["cleanup"] => restore::leftovers(&settings, &context).await?.drop_all(&context).await,
        _ => Err(Error::new(
            Kind::Usage,
            "interrupted N (restore BUNDLE | resume | rollback | cleanup | deploy CONFIG | resume-deploy CONFIG)",
        )),
    }
}

fn all_deployed(outcome: &deploy::Outcome) -> Result<()> {
    match outcome.machines.iter().all(|fate| fate.state == deploy::State::Deployed) {
        true => Ok(()),
        false => Err(Error::new(Kind::Failed, format!("not all are deployed: {outcome:?}"))),
    }
}
