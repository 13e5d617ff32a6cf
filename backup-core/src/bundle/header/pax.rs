//! pax records: lengths, keys and values, and the numbers and times in them.

use std::collections::BTreeMap;

use tar::{EntryType, Header};

use super::{RECORD, put};

/// The records that a header's extended part would take, were it all said in pax.
#[derive(Default)]
pub(super) struct Pax(Vec<u8>);

impl Pax {
    /// Adds `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(length.to_string().as_bytes());
        self.0.push(b' ');
        self.0.extend_from_slice(key);
        self.0.push(b'=');
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    pub(super) fn into_records(self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.0.len() as u64);
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.name, b"PaxHeaders/entry");
        }
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.0);
        bytes.resize(bytes.len().next_multiple_of(RECORD), 0);
        bytes
    }
}

/// Records by their keys.
pub(super) type PaxRecords = BTreeMap<Vec<u8>, Vec<u8>>;

/// Reads `LENGTH KEY=VALUE\n` records; a value may hold any byte, newlines too.
pub(super) fn pax_records(mut bytes: &[u8]) -> Option<PaxRecords> {
    let mut records = PaxRecords::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(12).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        if records.insert(record[..equals].to_vec(), record[equals + 1..].to_vec()).is_some() {
            return None;
        }
        bytes = &bytes[length..];
    }
    Some(records)
}

pub(super) fn number(text: &[u8]) -> Result<u64, &'static str> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or("a malformed number in an extended header")
}

pub(super) fn time_to_text(seconds: i64, nanos: u32) -> String {
    if seconds < 0 && nanos > 0 {
        return format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos);
    }
    format!("{seconds}.{nanos:09}")
}

pub(super) fn time_from_text(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, nanos) = text.split_once('.')?;
    let nanos: u32 = if nanos.len() == 9 { nanos.parse().ok()? } else { return None };
    if seconds.starts_with('-') && nanos > 0 {
        return Some((seconds.parse::<i64>().ok()?.checked_sub(1)?, 1_000_000_000u32.checked_sub(nanos)?));
    }
    Some((seconds.parse().ok()?, nanos))
}
