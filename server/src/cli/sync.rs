//! `karute sync`: from the workbook to a published snapshot.

use clap::Args;
use karute_engine::Store;
use karute_sync::job::Publishing;
use karute_sync::lexical::Lexical;
use serde_json::json;

use super::{Outcome, print_json, runtime};
use crate::config::Settings;
use crate::{progress, start};

/// How to sync.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Publish even a snapshot that the guard takes for an accident (many rows gone, many quarantined).
    #[arg(long)]
    force: bool,
}

pub(super) fn run(settings: Settings, options: &Options, json: bool) -> Outcome {
    let runtime = runtime()?;
    let _context = runtime.enter();
    let store = Store::open(&settings.data_dir)?;
    let progress = progress::for_stderr();
    let publishing = if options.force { Publishing::Forced } else { start::guarded(&settings) };
    let source = start::workbook(&settings);
    let outcome = start::sync(&source, &Lexical::default(), &store, publishing, progress.as_ref())?;
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
    say!("source   {}", index.provenance().source)?;
    say!("{}", outcome.report.to_string().trim_end())?;
    say!("snapshot {} ({} rows, {} bytes)", index.id(), index.len(), index.file_length())?;
    Ok(())
}
