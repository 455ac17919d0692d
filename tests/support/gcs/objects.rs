//! What the emulator keeps: objects with generations, and uploads that are not complete yet.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use time::OffsetDateTime;

/// One version of an object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) generation: u64,
    pub(super) updated: OffsetDateTime,
    /// CRC-32C, as Google writes it.
    pub(super) crc32c: String,
}

impl Object {
    pub(super) fn etag(&self) -> String {
        format!("\"{:016x}-{:x}\"", self.generation, self.bytes.len())
    }
}

/// Parts of an upload by number, and where they go.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) condition: Option<u64>,
    pub(super) parts: BTreeMap<u32, Bytes>,
}

/// A condition of a request does not hold.
#[derive(Debug)]
pub(super) struct Refused;

/// Everything that is kept.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) buckets: BTreeSet<String>,
    pub(super) all: BTreeMap<(String, String), Object>,
    pub(super) uploads: BTreeMap<String, Upload>,
    generation: u64,
}

impl Objects {
    pub(super) fn find(&self, bucket: &str, name: &str) -> Option<&Object> {
        self.all.get(&(bucket.to_owned(), name.to_owned()))
    }

    /// Holds if the object has this generation; 0 stands for no object.
    pub(super) fn check(&self, bucket: &str, name: &str, generation: Option<u64>) -> Result<(), Refused> {
        let found = self.find(bucket, name).map_or(0, |object| object.generation);
        if generation.is_none_or(|wanted| wanted == found) { Ok(()) } else { Err(Refused) }
    }

    pub(super) fn put(
        &mut self,
        bucket: &str,
        name: &str,
        bytes: Bytes,
        condition: Option<u64>,
    ) -> Result<Object, Refused> {
        self.check(bucket, name, condition)?;
        self.generation += 1;
        // Google writes the checksum with its highest byte first.
        let crc32c = BASE64_STANDARD.encode(crc32c(&bytes).swap_bytes().to_le_bytes());
        let object =
            Object { bytes, generation: self.generation, updated: OffsetDateTime::now_utc(), crc32c };
        self.all.insert((bucket.to_owned(), name.to_owned()), object.clone());
        Ok(object)
    }

    /// Begins an upload in parts and names it.
    pub(super) fn begin(&mut self, bucket: &str, name: &str, condition: Option<u64>) -> String {
        self.generation += 1;
        let id = format!("upload{}", self.generation);
        let (bucket, name) = (bucket.to_owned(), name.to_owned());
        self.uploads.insert(id.clone(), Upload { bucket, name, condition, parts: BTreeMap::new() });
        id
    }

    /// Joins the parts of an upload; `None` if there is no such upload.
    pub(super) fn complete(&mut self, id: &str) -> Option<Result<Object, Refused>> {
        let upload = self.uploads.remove(id)?;
        let bytes: Vec<u8> = upload.parts.values().flatten().copied().collect();
        Some(self.put(&upload.bucket, &upload.name, bytes.into(), upload.condition))
    }
}

/// The bytes of a `Range` header, cut to `length`; `None` if it is no single range, `Some(Err)` if it lies outside.
pub(super) fn range(header: &str, length: usize) -> Option<Result<std::ops::Range<usize>, Refused>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) => first..length,
        (Err(_), Ok(suffix)) => length.saturating_sub(suffix)..length,
        (Err(_), Err(_)) => return None,
    };
    Some(if range.start < range.end { Ok(range) } else { Err(Refused) })
}

/// CRC-32C (Castagnoli), bit by bit through a table of bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let mut value = at as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc: u32, &byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn ranges_are_read_as_http_reads_them() {
        let read = |header| range(header, 10).map(|range| range.ok());
        assert_eq!(read("bytes=2-4"), Some(Some(2..5)));
        assert_eq!(read("bytes=2-99"), Some(Some(2..10)));
        assert_eq!(read("bytes=7-"), Some(Some(7..10)));
        assert_eq!(read("bytes=-3"), Some(Some(7..10)));
        assert_eq!(read("bytes=10-"), Some(None));
        assert_eq!(read("rows=1-2"), None);
    }
}
