//! Waits for the SDK, which is asynchronous, in a store, which blocks.

use std::sync::mpsc::sync_channel;

use backup_core::{Error, Kind, Result};
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Threads that talk to the server: what they do beside waiting is TLS and digests.
const THREADS: usize = 2;

/// A runtime of the store's own. A caller may block one of the program's, and what it waits for must not need that one.
#[derive(Debug)]
pub(crate) struct Own {
    runtime: Option<Runtime>,
    /// Cancelled when the program is asked to stop.
    cancel: CancellationToken,
}

impl Own {
    pub(crate) fn start(cancel: CancellationToken) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("s3").enable_all().build();
        let runtime = runtime.map_err(|cause| Error::new(Kind::Failed, "start the S3 client").because(cause))?;
        Ok(Self { runtime: Some(runtime), cancel })
    }

    /// Runs `work` to its end and gives its result, unless the program is asked to stop.
    pub(crate) fn wait<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let cancel = self.cancel.clone();
        self.finish(async move {
            tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Error::new(Kind::Interrupted, "talk to S3: interrupted")),
                result = work => result,
            }
        })
    }

    /// Runs `work` to its end, whatever happens: what it does must not be left half done.
    pub(crate) fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = sync_channel(1);
        self.spawn(async move {
            // Nobody waits any more where the caller's thread ended.
            let _ = sender.send(work.await);
        });
        receiver.recv().unwrap_or_else(|_| Err(Error::new(Kind::Failed, "talk to S3: the work stopped")))
    }

    /// Runs `work` beside the caller.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may be dropped where nothing may block.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
