//! The measures as a page that needs nothing but a browser.

use std::fmt::Write;

use super::Evaluation;

/// Width of a whole bar, in pixels.
const WIDTH: f64 = 400.0;

/// A page with one bar for each arm and each part that was switched off.
pub fn page(found: &Evaluation) -> String {
    let mut bars = String::new();
    let all = found.arms.iter().chain(&found.without);
    for (at, (name, measures)) in all.enumerate() {
        let (top, width) = (at * 28, measures.ndcg_10 * WIDTH);
        // Writing to a text cannot fail.
        let _ = write!(
            bars,
            "<text x='150' y='{}' text-anchor='end'>{name}</text><rect x='160' y='{top}' width='{width:.1}' height='20' \
             fill='#4285f4'/><text x='{:.1}' y='{}'>{:.3}</text>",
            top + 15,
            166.0 + width,
            top + 15,
            measures.ndcg_10
        );
    }
    let height = (found.arms.len() + found.without.len()) * 28;
    let (low, high) = found.ndcg_10_interval;
    let refusals = found.refusals;
    format!(
        "<!doctype html><meta charset='utf-8'><title>karute eval</title><style>body{{font:14px sans-serif}}</style>\
         <h1>nDCG@10</h1><p>{} questions with an answer, {} without; {}; snapshot {}</p>\
         <svg width='640' height='{height}' role='img'>{bars}</svg>\
         <p>95 % of ranked: {low:.3} to {high:.3}. Refusals: precision {:.3}, recall {:.3}, F1 {:.3} ({}).</p>\n",
        found.answerable,
        found.unanswerable,
        found.embedder,
        found.snapshot_id,
        refusals.precision,
        refusals.recall,
        refusals.f1,
        found.gate.replace('<', "&lt;")
    )
}
