//! The command line: verbs and their options. Each verb that does something has a file.

/// Prints a line to standard output. Fails, rather than panics, when nobody reads it or the disk behind it is full.
macro_rules! say {
    ($($argument:tt)*) => {
        std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{}\n", format_args!($($argument)*)))
    };
}

mod ask;
mod audit;
mod backup;
mod bucket;
mod config;
mod costs;
mod eval;
mod forget;
mod preflight;
mod privacy;
mod replay;
mod search;
mod serve;
mod size;
mod snapshot;
mod sync;
mod token;

pub(crate) use backup::NIGHTLY;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use karute_engine::Store;

use crate::access::Access;
use crate::app::App;
use crate::config::{Loaded, Settings, Sources};
use crate::setup::{self, SetupError};
use crate::start::{self, Prepared};
use crate::state::Database;
use crate::{progress, telemetry};

/// Exit code of a wrong setting or command line.
const USAGE: u8 = 2;
/// Exit code of a snapshot that the guard did not publish.
const REFUSED: u8 = 12;

/// Answers questions about care records, with the source of every answer.
///
/// Without a verb, karute serves: it reads the workbook (a built-in sample unless KARUTE_WORKBOOK names another),
/// builds a snapshot of it once, and answers on http://127.0.0.1:8000.
///
/// Settings come from the environment, a .env file or a TOML file; `karute config` lists them all.
#[derive(Debug, Parser)]
#[command(name = "karute", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Args)]
struct Common {
    /// Print one JSON document instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    /// Read settings from this TOML file (keys are the names of the settings in lower case).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one setting, before every other source. May be repeated.
    #[arg(long = "set", global = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
    overrides: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let known = |name: &str| Settings::ALL.iter().any(|s| s.name == name || s.aliases.contains(&name));
    match text.split_once('=') {
        Some((name, value)) if known(name) => Ok((name.to_owned(), value.to_owned())),
        Some((name, _)) => Err(format!("{name} is no setting: `karute config` lists them all")),
        None => Err("expected NAME=VALUE".into()),
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Answer questions over HTTP (the default).
    Serve,
    /// Read the workbook or the spreadsheet, embed what has no vector, and publish a snapshot.
    Sync(sync::Options),
    /// Find the records nearest to a question.
    Search(search::Options),
    /// Answer a question, with citations.
    Ask(ask::Options),
    /// Show how an answer came about, and what its question finds today.
    Replay(replay::Options),
    /// Measure retrieval on judged questions.
    Eval(eval::Options),
    /// Look at the snapshots in the store; push them to a bucket and pull them from it.
    #[command(subcommand)]
    Snapshot(snapshot::Verb),
    /// Copy the spreadsheet in Drive, and write its tabs to files.
    Backup(backup::Options),
    /// Show that a backup holds the rows of the source, or put the state back.
    Restore(backup::Restore),
    /// Make the sheets that the spreadsheet lacks, with their headers.
    InitSheet,
    /// Make, list and take back tokens for machines.
    #[command(subcommand)]
    Token(token::Verb),
    /// Make a key that cannot be guessed, for ADMIN_API_KEY or KARUTE_AUDIT_KEY.
    Keygen,
    /// Show what models cost, by day, caller or model.
    Costs(costs::Options),
    /// Check the audit, or show who looked at a client's records.
    #[command(subcommand)]
    Audit(audit::Verb),
    /// Remove a client from every snapshot, conversation and cache, and from every sync to come.
    Forget(forget::Options),
    /// Show what leaves this machine, and where to, by the settings in force.
    Privacy,
    /// Show every setting: its value, where that came from, and what it means.
    Config(config::Options),
    /// Check everything that a production needs, and say how to mend what is wrong. Exit code 14 if anything is.
    Preflight(preflight::Options),
    /// Say what machine holds so many records and requests, and what answers cost at most.
    Size(size::Options),
    /// Write shell completions and man pages.
    #[command(hide = true)]
    Generate {
        /// A directory that is there.
        directory: PathBuf,
    },
}

/// The program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let loaded = match Sources::of_process(&cli.common.overrides, cli.common.config.as_deref()).load() {
        Ok(loaded) => loaded,
        Err(invalid) => {
            eprintln!("karute: {invalid}");
            return ExitCode::from(USAGE);
        }
    };
    telemetry::start(&loaded.settings);
    run(cli, loaded).unwrap_or_else(|error| {
        // `karute ... | head`: whoever read has read enough. The code is the shell's for one that SIGPIPE ended.
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        {
            return ExitCode::from(141);
        }
        eprintln!("karute: {error}");
        sync::exit_code(error.as_ref())
    })
}

/// What a verb returns: any error, told in one sentence.
type Outcome = Result<(), Box<dyn std::error::Error>>;

fn run(cli: Cli, loaded: Loaded) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let json = cli.common.json;
    if !matches!(cli.verb, Some(Verb::Config(_))) {
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
    }
    let settings = loaded.settings.clone();
    let done = match cli.verb.unwrap_or(Verb::Serve) {
        Verb::Config(options) => config::run(&loaded, &options, json),
        Verb::Preflight(options) => return runtime()?.block_on(preflight::run(settings, options, json)),
        Verb::Size(options) => size::run(&settings, &options, json),
        Verb::Generate { directory } => generate(&directory),
        Verb::Privacy => privacy::run(&settings, json),
        Verb::Keygen => Ok(say!("{}", crate::access::tokens::secret())?),
        Verb::Token(verb) => runtime()?.block_on(token::run(settings, verb, json)),
        Verb::Costs(options) => runtime()?.block_on(costs::run(settings, options, json)),
        Verb::Audit(verb) => return runtime()?.block_on(audit::run(settings, verb, json)),
        Verb::Forget(options) => runtime()?.block_on(forget::run(settings, options, json)),
        Verb::Snapshot(verb) => snapshot::run(&settings, verb, json),
        Verb::Sync(options) => return sync::run(settings, &options, json),
        Verb::Backup(options) => return runtime()?.block_on(backup::run(settings, options, json)),
        Verb::Restore(options) => return runtime()?.block_on(backup::restore(settings, options, json)),
        Verb::InitSheet => return runtime()?.block_on(backup::init(settings, json)),
        Verb::Eval(options) => return runtime()?.block_on(eval::run(settings, options, json)),
        Verb::Search(options) => runtime()?.block_on(search::run(settings, options, json)),
        Verb::Replay(options) => runtime()?.block_on(replay::run(settings, options, json)),
        Verb::Ask(options) => runtime()?.block_on(ask::run(settings, options, json)),
        Verb::Serve => {
            let runtime = runtime()?;
            let outcome = runtime.block_on(serve::run(settings));
            // What is still being built is given up: a store loses nothing by it, and who asked to end need not wait.
            runtime.shutdown_background();
            outcome
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Completions for every shell, and a man page for every verb.
fn generate(directory: &Path) -> Outcome {
    let mut command = Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
        clap_complete::generate_to(shell, &mut command, "karute", directory)?;
    }
    Ok(clap_mangen::generate_to(command, directory)?)
}

/// The database of the settings.
async fn state(settings: &Settings) -> Result<Database, Box<dyn std::error::Error>> {
    Store::open(&settings.data_dir)?;
    Ok(Database::open(&settings.database, &settings.data_dir).await?)
}

/// The app for one question from the command line: with its ledger where something that it asks costs money, and with its
/// audit where that must be kept.
async fn asking(settings: Settings) -> Result<App, Box<dyn std::error::Error>> {
    let app = app(settings)?;
    let costs = !app.embedder.is_free() || app.reranker.is_some() || setup::is_paid(&app.settings);
    if costs || app.access.is_required() {
        app.keep_in(state(&app.settings).await?);
    }
    Ok(app)
}

/// The app with everything that the settings name.
fn app(settings: Settings) -> Result<App, SetupError> {
    let embedder = setup::embedder(&settings)?;
    let gate = setup::gate(&settings, &embedder.identity().model)?;
    let answerers = setup::answerers(&settings)?;
    let mut app = App::new(settings, embedder, answerers);
    app.access = Arc::new(Access::new(&app.settings)?);
    app.reranker = setup::reranker(&app.settings)?;
    app.gate = Arc::new(gate);
    Ok(app)
}

/// Finds or builds the snapshot to serve, away from the threads that serve connections.
async fn prepare(app: &App) -> Result<Prepared, Box<dyn std::error::Error>> {
    let (settings, embedder) = (app.settings.clone(), app.embedder.clone());
    let prepared = tokio::task::spawn_blocking(move || -> Result<Prepared, start::StartError> {
        let store = Store::open(&settings.data_dir)?;
        start::prepare(&settings, &store, embedder.as_ref(), progress::for_stderr().as_ref())
    });
    let prepared = prepared.await??;
    for problem in &prepared.problems {
        tracing::warn!("{problem}");
    }
    Ok(prepared)
}

/// Text of a record as a terminal may show it: control and direction characters, which could
/// command the terminal, become spaces.
fn plain(text: &str) -> String {
    let commands = |c: char| {
        c.is_control() && c != '\n' || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if commands(c) { ' ' } else { c }).collect()
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    Ok(say!("{}", serde_json::to_string_pretty(value)?)?)
}
