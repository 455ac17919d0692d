//! What the behaviour tests share, and the maker of the sample workbook.

pub mod forge;
pub mod sample;
pub mod snapshots;
pub mod staged;
