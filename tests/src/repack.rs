//! A bundle with other content, whole and with right digests, as whoever may write to a store can put one there.

use std::path::Path;
use std::sync::Arc;

use backup_core::bundle::header::Head;
use backup_core::bundle::manifest::postgres::{Chunk, number_chunks};
use backup_core::bundle::writer::Writer;
use backup_core::names::BundleName;

use crate::open;

/// Writes a bundle of the same name to `to`, with each entry as `bend` leaves it: its path, its content, and what it says of the
/// rows in it.
pub fn repack(bundle: &Path, to: &Path, mut bend: impl FnMut(&str, &mut Vec<u8>, &mut Option<Chunk>)) {
    let original = open(bundle);
    let mut manifest = original.manifest().clone();
    let name: BundleName = manifest.name.parse().expect("a name");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let packed = runtime.block_on(async {
        let (writer, closing) = Writer::start(name, 3, Vec::new(), Arc::default());
        let mut chunks = Vec::new();
        for entry in &manifest.entries {
            let mut content = original.content(&entry.path).expect("content");
            let mut chunk = entry.chunk.clone();
            bend(&entry.path, &mut content, &mut chunk);
            chunks.push(chunk);
            let fill = |buffer: &mut Vec<u8>, _: usize| {
                buffer.extend_from_slice(&content);
                Ok(())
            };
            let head = Head::private(entry.path.as_str(), content.len() as u64, 0);
            writer.stream(head, fill).await.expect("written");
        }
        let mut tail = closing.close(writer).await.expect("closed").expect("complete");
        for (entry, chunk) in tail.entries.iter_mut().zip(chunks) {
            entry.chunk = chunk;
        }
        number_chunks(&mut tail.entries);
        manifest.entries.clone_from(&tail.entries);
        tail.seal_unchecked(&manifest).expect("sealed").sink
    });
    std::fs::write(to, packed).expect("written");
}
