//! `karute sync`: from the source to a published snapshot.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use karute_engine::{GraphBuilder, Promise, Store, StoreError};
use karute_sync::cache::Cached;
use karute_sync::embed::Embedder;
use karute_sync::google::scope;
use karute_sync::job::{self, How, Outcome, Pass, Publishing, Run, SyncError};
use karute_sync::report::{Action, QualityReport};
use karute_sync::source::Source;
use karute_sync::{compare, lexical};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::runtime::Runtime;

use super::bucket::Around;
use super::serve::Unsafe;
use super::{REFUSED, USAGE, print_json, runtime};
use crate::access::AccessError;
use crate::config::{EmbedderKind, Settings, SourceKind};
use crate::money::{Money, Payer, SYNC, Till};
use crate::paying::Paying;
use crate::{progress, setup, start};

/// Exit code of a check that found rows to repair.
const REPAIRED: u8 = 10;
/// Exit code of a check that found rows to leave out.
const QUARANTINED: u8 = 11;

/// How to sync.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where records come from, whatever KARUTE_SOURCE says.
    #[arg(long, value_enum)]
    source: Option<Named>,
    /// Publish even a snapshot that the guard takes for an accident (many rows gone, many quarantined).
    #[arg(long)]
    force: bool,
    /// Read everything, whether it changed or not.
    #[arg(long)]
    full: bool,
    /// Only report what the source holds; publish nothing. Exits 0 if all is clean, 10 if rows would be repaired, 11 if
    /// some would be left out.
    #[arg(long, conflicts_with_all = ["force", "watch", "embed_missing"])]
    check: bool,
    /// Embed records that have no usable vector, for at most KARUTE_EMBED_MAX_YEN.
    #[arg(long)]
    embed_missing: bool,
    /// Append vectors that were computed to the Embeddings sheet, one packed cell each.
    #[arg(long, requires = "embed_missing")]
    write_back: bool,
    /// Embed all records anew with this model, beside the snapshot in force, and compare the two.
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["check", "watch", "embed_missing", "force", "full", "builder"])]
    re_embed: Option<String>,
    /// Make the snapshot of --re-embed the one in force.
    #[arg(long, requires = "re_embed")]
    switch: bool,
    /// Around the sync: pull what is current in KARUTE_BUCKET, push what was built, and leave KARUTE_BUCKET_KEEP snapshots there.
    /// So a job needs no disk of its own.
    #[arg(long, conflicts_with_all = ["check", "re_embed"])]
    push: bool,
    /// The bucket may be empty, or what is current there lost: there is nothing to pull, and nothing that the guard could
    /// compare with.
    #[arg(long, requires = "push")]
    first: bool,
    /// Build a graph with this builder, however few records there are; everything else is as ever. `hnsw_rs` is there for
    /// comparison, in builds with the feature of that name.
    #[arg(long, value_enum)]
    builder: Option<Builder>,
    /// Write every finding to this file: .csv or .json.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Sync again and again, with a pause such as 90s, 5m or 1h.
    #[arg(long, value_name = "PAUSE", value_parser = pause)]
    watch: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Named {
    Workbook,
    Sheets,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Builder {
    Native,
    #[cfg(feature = "hnsw_rs")]
    #[value(name = "hnsw_rs")]
    HnswRs,
}

impl From<Builder> for GraphBuilder {
    fn from(builder: Builder) -> Self {
        match builder {
            Builder::Native => Self::Native,
            #[cfg(feature = "hnsw_rs")]
            Builder::HnswRs => Self::HnswRs,
        }
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    let expected = || "expected a number of seconds, minutes or hours: 90s, 5m, 1h".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(expected()),
    };
    let number: u64 = digits.parse().map_err(|_| expected())?;
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs).ok_or_else(expected)
}

type Ended = Result<ExitCode, Box<dyn std::error::Error>>;

pub(super) fn run(mut settings: Settings, options: &Options, json: bool) -> Ended {
    match options.source {
        Some(Named::Workbook) => settings.source = SourceKind::Workbook,
        Some(Named::Sheets) => settings.source = SourceKind::Sheets,
        None => {}
    }
    if let Some(file) = &options.report
        && let Err(error) = can_be_written(file)
    {
        eprintln!("karute: --report {}: {error}", file.display());
        return Ok(ExitCode::from(USAGE));
    }
    let runtime = runtime()?;
    let _context = runtime.enter();
    let store = Store::open(&settings.data_dir)?;
    if let Some(model) = &options.re_embed {
        return re_embed(settings.clone(), model, options.switch, &store, &runtime, json);
    }
    if options.check {
        return check(&settings, options, &store, setup::embedder_of_a_run(&settings)?.as_ref(), json);
    }
    loop {
        let synced = once(&settings, options, &store, &runtime, json);
        let Some(pause) = options.watch else { return synced.map(|()| ExitCode::SUCCESS) };
        if let Err(error) = synced {
            // Waiting mends no setting.
            if error.is::<setup::SetupError>() {
                return Err(error);
            }
            tracing::error!(%error, "the sync failed; the snapshot before is still served");
        }
        std::thread::sleep(pause);
    }
}

/// `embedder`, whose calls stand in the ledger.
pub(super) fn paying(
    settings: &Settings,
    embedder: Arc<dyn Embedder>,
    runtime: &Runtime,
) -> Result<Arc<dyn Embedder>, Box<dyn std::error::Error>> {
    let state = runtime.block_on(super::state(settings))?;
    let payer = Payer { caller: SYNC.into(), answer_id: String::new() };
    let till = Till::new(Arc::new(Money::new(settings)), Some(state), payer, OffsetDateTime::now_utc);
    Ok(Arc::new(Paying::new(embedder, till)))
}

fn once(
    settings: &Settings,
    options: &Options,
    store: &Store,
    runtime: &Runtime,
    json: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut embedder = setup::embedder_of_a_run(settings)?;
    if options.embed_missing && !embedder.is_free() {
        embedder = paying(settings, embedder, runtime)?;
    }
    let around = options.push.then(|| Around::begin(settings, store, options.first, runtime)).transpose()?;
    let publishing = if options.force { Publishing::Forced } else { start::guarded(settings) };
    let mut how = setup::how(settings, publishing)?;
    if options.full {
        how.pass = Pass::Full;
    }
    if options.embed_missing {
        how.missing = setup::embed_missing(settings);
    }
    how.write_back = options.write_back;
    how.builder = options.builder.map(GraphBuilder::from);
    let source: Box<dyn Source> = match options.write_back && setup::from_sheets(settings) {
        true => Box::new(setup::spreadsheet(settings, scope::WRITE)?),
        false => setup::source(settings)?,
    };
    let Outcome { index, report, run, not_written } =
        start::sync(source.as_ref(), embedder.as_ref(), store, how, progress::for_stderr().as_ref())?;
    // The snapshot is published all the same, and the next run tries again.
    let not_written = not_written.map(|error| error.to_string());
    if let Some(error) = &not_written {
        tracing::error!(%error, "computed vectors could not be written back");
    }
    let pushed = around.map(|around| around.end(settings, store, index.id(), runtime)).transpose()?;
    let summary = json!({
        "pushed": pushed,
        "not_written_back": not_written,
        "snapshot_id": index.id().to_string(),
        "source": index.provenance().source,
        "embedder": index.identity().model,
        "rows": index.len(),
        "file": store.path_of(index.id()),
        "bytes": index.file_length(),
    });
    let told = tell(summary, &report, &run, options, json, || {
        say!("source   {}", index.provenance().source)?;
        say!("{}", report.to_string().trim_end())?;
        say!("{}", told(&run))?;
        say!("snapshot {} ({} rows, {} bytes)", index.id(), index.len(), index.file_length())?;
        match &pushed {
            Some(pushed) => say!("pushed   {}", pushed["bucket"].as_str().unwrap_or_default()),
            None => Ok(()),
        }
    });
    // A job that is told of a failure would do again what is done.
    if let Err(error) = told {
        tracing::error!(%error, "the snapshot is published, but what was found could not be told");
    }
    Ok(())
}

/// Whether the findings can go to this file, before anything is read for them.
fn can_be_written(file: &Path) -> Result<(), String> {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv" | "json") => {}
        _ => return Err("the name must end in .csv or .json".into()),
    }
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
    opened.map(|_| ()).map_err(|error| error.to_string())
}

/// A snapshot by another model beside the one in force, and how the two differ.
fn re_embed(
    mut settings: Settings,
    model: &str,
    switch: bool,
    store: &Store,
    runtime: &Runtime,
    json: bool,
) -> Ended {
    let before = store.current()?.index;
    model.clone_into(&mut settings.embedding_model);
    settings.embedder = if model == lexical::MODEL { EmbedderKind::Lexical } else { EmbedderKind::Vertex };
    let mut inner = setup::embedder_of_a_run(&settings)?;
    if !inner.is_free() {
        inner = paying(&settings, inner, runtime)?;
    }
    let embedder = Cached::new(inner.as_ref(), &setup::embedding_cache(store));
    let (source, progress) = (setup::source(&settings)?, progress::for_stderr());
    let now = OffsetDateTime::now_utc().truncate_to_second();
    let publishing = switch.then(|| start::guarded(&settings));
    let how =
        How { missing: setup::embed_missing(&settings), ..setup::how(&settings, Publishing::default())? };
    let made = job::beside(source.as_ref(), &embedder, store, now, how, publishing, progress.as_ref());
    let index = tokio::runtime::Handle::current().block_on(made)?.index;
    let overlap = compare::neighbours(&before, &index)?;
    let (made, was) = (index.promise()?, before.promise()?);
    if json {
        print_json(&json!({
            "snapshot_id": index.id().to_string(), "before": before.id().to_string(),
            "model": index.identity().model, "model_before": before.identity().model,
            "recall": made.as_ref().map(Promise::recall), "recall_before": was.as_ref().map(Promise::recall),
            "overlap": overlap, "switched": switch,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let shown = |promise: Option<Promise>| match promise {
        None => "exact".to_owned(),
        Some(promise) if promise.ef_search.is_none() => {
            format!("recall@10 {:.4}, short of {}", promise.recall(), promise.target)
        }
        Some(promise) => format!("recall@10 {:.4}", promise.recall()),
    };
    say!("before   {} by {}, {}", before.id().short(), before.identity().model, shown(was))?;
    say!("beside   {} by {}, {}", index.id().short(), index.identity().model, shown(made))?;
    say!("overlap  {:.3} of the ten nearest records, over {} records", overlap.neighbours, overlap.rows)?;
    match switch {
        true => say!("switched; set VERTEX_AI_EMBEDDINGS_MODEL={model} wherever questions are embedded")?,
        false => say!("not switched: `karute sync --re-embed {model} --switch` does")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn check(
    settings: &Settings,
    options: &Options,
    store: &Store,
    embedder: &dyn Embedder,
    json: bool,
) -> Ended {
    let source = setup::source(settings)?;
    let progress = progress::for_stderr();
    let embedder = Cached::new(embedder, &setup::embedding_cache(store));
    let checked = job::check(source.as_ref(), &embedder, store, progress.as_ref());
    let (report, run) = tokio::runtime::Handle::current().block_on(checked)?;
    tell(json!({"source": source.name(), "checked": true}), &report, &run, options, json, || {
        say!("source   {}", source.name())?;
        say!("{}", report.to_string().trim_end())?;
        say!("{}\nnothing was published", told(&run))
    })?;
    Ok(match report.worst() {
        None | Some(Action::Noted) => ExitCode::SUCCESS,
        Some(Action::Repaired) => ExitCode::from(REPAIRED),
        Some(Action::Quarantined) => ExitCode::from(QUARANTINED),
    })
}

/// What a run did, in a line.
fn told(run: &Run) -> String {
    let Run { unchanged, vectors_read, vectors_reused, vectors_written, full_pass, usage } = run;
    let mut line = match unchanged {
        true => "run      unchanged since the last sync".to_owned(),
        false => {
            format!("run      {vectors_read} vectors read, {vectors_reused} taken from the snapshot before")
        }
    };
    if *vectors_written > 0 {
        line += &format!("; {vectors_written} vectors written back");
    }
    if usage.calls > 0 {
        line += &format!("; {} calls ({} of them again), {} bytes", usage.calls, usage.retries, usage.bytes);
    }
    if !full_pass.is_empty() {
        line += &format!("; last full pass {full_pass}");
    }
    line
}

/// Tells the result: to people on a terminal, as one line of JSON elsewhere, and the findings to a file if asked for.
fn tell(
    mut summary: Value,
    report: &QualityReport,
    run: &Run,
    options: &Options,
    json: bool,
    people: impl FnOnce() -> std::io::Result<()>,
) -> Result<(), Box<dyn std::error::Error>> {
    if let Some(file) = &options.report {
        write_report(file, report)?;
    }
    summary["run"] = serde_json::to_value(run)?;
    summary["report"] = serde_json::to_value(report)?;
    if json {
        return print_json(&summary);
    }
    if std::io::stdout().is_terminal() {
        return Ok(people()?);
    }
    // A job's log wants the counts; the findings are in the snapshot, and in --report.
    summary["report"]["findings"] = json!(report.findings.len());
    summary["report"]["reasons"] = report
        .by_reason()
        .into_iter()
        .map(|((action, reason), count)| json!({"action": action, "reason": reason, "rows": count}))
        .collect();
    Ok(say!("{summary}")?)
}

fn write_report(file: &Path, report: &QualityReport) -> Result<(), Box<dyn std::error::Error>> {
    let text = match file.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => report.to_csv()?,
        // `can_be_written` lets no other through.
        _ => serde_json::to_string_pretty(report)?,
    };
    std::fs::write(file, text)
        .map_err(|error| format!("{} cannot be written: {error}", file.display()).into())
}

/// The exit code of an error: whether the guard refused, the settings are wrong, or something else failed.
pub(super) fn exit_code(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let of_settings = error.is::<setup::SetupError>()
        || error.is::<Unsafe>()
        || matches!(error.downcast_ref::<AccessError>(), Some(AccessError::People(_)))
        || matches!(error.downcast_ref::<start::StartError>(), Some(start::StartError::Setup(_)));
    if of_settings {
        return ExitCode::from(USAGE);
    }
    match error.downcast_ref::<SyncError>() {
        Some(SyncError::Store(StoreError::Refused { .. })) => ExitCode::from(REFUSED),
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_a_number_with_a_unit() {
        assert_eq!(pause("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(pause("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(pause("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "5", "m", "0s", "5d", "-1s", "1.5h", "99999999999999999999h"] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }
}
