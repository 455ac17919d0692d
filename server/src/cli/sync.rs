//! `karute sync`: from the workbook to a published snapshot.

use karute_engine::Store;
use karute_sync::lexical::Lexical;
use serde_json::json;

use super::{Outcome, print_json, runtime};
use crate::config::Settings;
use crate::{progress, start};

pub(super) fn run(settings: Settings, json: bool) -> Outcome {
    let runtime = runtime()?;
    let _context = runtime.enter();
    let store = Store::open(&settings.data_dir)?;
    let progress = progress::for_stderr();
    let outcome = start::sync(&start::workbook(&settings), &Lexical::default(), &store, progress.as_ref())?;
    let index = &outcome.index;
    if json {
        return print_json(&json!({
            "snapshot_id": index.id().to_string(),
            "source": index.provenance().source,
            "embedder": index.identity().model,
            "rows": index.len(),
            "file": store.path_of(index.id()),
            "bytes": index.file_length(),
            "report": outcome.report,
        }));
    }
    println!("source   {}", index.provenance().source);
    print!("{}", outcome.report);
    println!("snapshot {} ({} rows, {} bytes)", index.id(), index.len(), index.file_length());
    Ok(())
}
