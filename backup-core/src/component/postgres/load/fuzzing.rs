//! What fuzz targets call of what stands before psql.

use super::copied::Rows;
use super::opened::Header;
use super::simple;

/// Statements lie in the script, one behind the other; rows end at the same byte however they are cut.
pub(crate) fn statements(bytes: &[u8]) {
    if let Ok(all) = simple::statements(bytes) {
        let mut rest = bytes;
        for statement in all {
            assert!(statement.ends_with(b";"));
            let at = memchr::memmem::find(rest, statement);
            assert!(at.is_some());
            rest = &rest[at.unwrap_or(0) + statement.len()..];
        }
    }
    let is_sound = |size: usize| {
        let mut rows = Rows::default();
        bytes.chunks(size).try_for_each(|part| rows.follow(part)).and_then(|()| rows.finish()).is_ok()
    };
    let whole = is_sound(bytes.len().max(1));
    assert!([1, 2, 5].iter().all(|size| is_sound(*size) == whole));
    if let Ok(header) = Header::of(bytes) {
        assert!(header.copy.starts_with(b"COPY \""));
    }
}
