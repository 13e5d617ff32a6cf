//! Where captured entries go.

use crate::Result;
use crate::bundle::header::Head;
use crate::bundle::writer::Writer;

/// Something that takes entries one after another.
pub(crate) trait Target: Send {
    /// Takes an entry of exactly `head.size` bytes, which `fill` appends to a buffer, at most the given number at once. It says whether
    /// the entry is in, for hard links that may follow; where it is not, there is a finding.
    fn take<F>(&mut self, head: Head, fill: F) -> impl Future<Output = Result<bool>> + Send
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send;
}

/// The bundle itself: each entry is one of its own.
impl Target for &Writer {
    async fn take<F>(&mut self, head: Head, fill: F) -> Result<bool>
    where
        F: FnMut(&mut Vec<u8>, usize) -> Result<()> + Send,
    {
        self.stream(head, fill).await.map(|()| true)
    }
}
