//! What the behaviour tests share, among it emulators of Google's services, and the maker of the sample workbook.

pub mod bulk;
pub mod files;
pub mod forge;
pub mod gcs;
pub mod google;
pub mod homes;
pub mod http;
pub mod issuer;
pub mod program;
pub mod sample;
pub mod serve;
pub mod small;
pub mod snapshots;
pub mod staged;
