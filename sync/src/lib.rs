//! # karute-sync
//!
//! From a sheet to a published snapshot: read the source, judge every row, embed what has no vector, build, publish.
//!
//! Nothing is dropped in silence. Each row of the source ends as used, repaired or quarantined, and the
//! [quality report](report::QualityReport) names the sheet, the row and the reason of everything that is not plainly
//! used. The report never holds record texts.
//!
//! * [`source::Source`]: where rows come from; [`workbook`] reads `.xlsx` files, folders of `.csv`, and the
//!   [sample](workbook::Workbook::sample) that the program carries.
//! * [`spreadsheet::Spreadsheet`]: a live spreadsheet, read at the cost of what changed, by way of [`google`].
//! * [`embed::Embedder`]: text to vectors; [`lexical::Lexical`] is the local one,
//!   [`vertex::Vertex`] Google's; [`cache::Cached`] remembers what was paid for.
//! * [`job::run`]: the steps in order.
//! * [`bucket::Bucket`]: the same store in a bucket; push and pull.

pub mod backup;
pub mod bucket;
pub mod cache;
pub mod clients;
pub mod compare;
pub mod embed;
pub mod forget;
mod gather;
pub mod generate;
pub mod google;
mod instructions;
pub mod job;
mod judge;
pub mod layout;
pub mod lexical;
pub mod models;
pub mod numbers;
pub mod passages;
mod prepare;
pub mod report;
mod seen;
mod sound;
pub mod source;
mod spool;
pub mod spreadsheet;
mod terms;
mod tls;
pub mod transfer;
mod vectors;
pub mod vertex;
pub mod workbook;
