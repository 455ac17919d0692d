//! What the behaviour tests share, among it an emulator of Google Cloud Storage, and the maker of the sample workbook.

pub mod bulk;
pub mod forge;
pub mod gcs;
pub mod sample;
pub mod snapshots;
pub mod staged;
