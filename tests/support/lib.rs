//! What the behaviour tests share, and the maker of the sample workbook.

pub mod sample;
pub mod snapshots;
pub mod staged;
