//! `karute backup`, `karute restore`, `karute init-sheet`: what is done to the spreadsheet, and to the state, as a whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use karute_sync::backup::{self, Backup, BackupError, Keep};
use karute_sync::google::scope;
use karute_sync::layout;
use karute_sync::source::Source;
use karute_sync::spreadsheet::Spreadsheet;
use karute_sync::workbook::Workbook;
use serde_json::json;
use time::{Date, OffsetDateTime};

use super::print_json;
use crate::audit::verify;
use crate::config::{Settings, SpreadsheetId, Value};
use crate::setup;
use crate::state::Database;

/// Exit code of a backup that does not hold the rows of the source.
const DIFFERENT: u8 = 1;

type Ended = Result<ExitCode, Box<dyn std::error::Error>>;

/// What to back up.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write every tab to this directory: .csv files, and an .xlsx file to look at.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Write the state to this file: conversations, feedback, answers, tokens, ledger and audit.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Make no copy in Drive.
    #[arg(long)]
    files_only: bool,
    /// For a timer: the state to `backups` in the data directory, where KARUTE_BACKUP_KEEP copies stay, unless it is PostgreSQL's;
    /// and a copy of the spreadsheet in Drive where KARUTE_BACKUP_FOLDER names a folder.
    #[arg(long, conflicts_with_all = ["out", "state", "files_only"])]
    nightly: bool,
}

/// The folder of nightly copies of the state, in the data directory, and how their names begin and end: the day is between.
pub(crate) const NIGHTLY: &str = "backups";
const BEGIN: &str = "state-";
const END: &str = ".sqlite";

/// Copies the state under the name of today, over another of today, and removes the oldest copies.
async fn nightly(settings: &Settings, today: Date) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let folder = settings.data_dir.join(NIGHTLY);
    fs::create_dir_all(&folder)?;
    let (file, part) = (folder.join(format!("{BEGIN}{today}{END}")), folder.join("state.part"));
    // What a run left that was ended.
    if part.exists() {
        fs::remove_file(&part)?;
    }
    super::state(settings).await?.copy_to(&part).await?;
    fs::rename(&part, &file)?;
    let is_copy = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(BEGIN) && name.ends_with(END))
    };
    let mut copies: Vec<PathBuf> =
        fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_copy).collect();
    copies.sort_unstable();
    for old in copies.iter().rev().skip(settings.backup_keep) {
        fs::remove_file(old)?;
    }
    Ok(file)
}

pub(super) async fn run(settings: Settings, options: Options, json: bool) -> Ended {
    let Options { out, state, mut files_only, nightly: is_nightly } = options;
    if is_nightly {
        files_only = settings.backup_folder.is_empty() || !setup::from_sheets(&settings);
    }
    let is_file = settings.database.reveal().is_none();
    if is_nightly && files_only && !is_file {
        // For a timer that is no failure.
        tracing::warn!(
            "nothing to back up: the state is PostgreSQL's, and KARUTE_BACKUP_FOLDER names no folder for the spreadsheet"
        );
        return Ok(ExitCode::SUCCESS);
    }
    if files_only && out.is_none() && state.is_none() && !is_nightly {
        return Err("nothing to back up: --files-only needs --out or --state".into());
    }
    let mut done = Backup::default();
    // The state first: what Drive says must not keep it from being copied.
    let copied = match is_nightly && is_file {
        true => Some(nightly(&settings, OffsetDateTime::now_utc().date()).await?),
        false => None,
    };
    if !files_only {
        let (spreadsheet, id) =
            (setup::spreadsheet(&settings, scope::BACKUP)?, setup::spreadsheet_id(&settings)?);
        let keep = Keep {
            copies: settings.backup_keep,
            younger_than: Duration::from_secs(settings.backup_days * 24 * 3_600),
        };
        let folder = Some(settings.backup_folder.as_str()).filter(|folder| !folder.is_empty());
        done = backup::copy(spreadsheet.client(), id, folder, keep, OffsetDateTime::now_utc()).await?;
        if let (Some(directory), Some(copy)) = (&out, done.copy_id.clone()) {
            // The copy holds still, whoever writes meanwhile.
            let copy = Settings { spreadsheet: Some(SpreadsheetId(copy)), ..settings.clone() };
            done = files(&setup::spreadsheet(&copy, scope::BACKUP)?, &spreadsheet.address(), directory, done)
                .await?;
        }
    } else if let Some(directory) = &out {
        let spreadsheet = setup::spreadsheet(&settings, scope::READ)?;
        done = files(&spreadsheet, &spreadsheet.address(), directory, done).await?;
    }
    done.files.extend(copied);
    if let Some(file) = state {
        super::state(&settings).await?.copy_to(&file).await?;
        done.files.push(file);
    }
    if json {
        print_json(&done)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(copy), Some(id)) = (&done.copy, &done.copy_id) {
        say!("copied   {copy} (https://docs.google.com/spreadsheets/d/{id})")?;
    }
    for name in &done.binned {
        say!("binned   {name}")?;
    }
    for name in &done.not_binned {
        say!("stays    {name}")?;
    }
    for file in &done.files {
        say!("written  {}", file.display())?;
    }
    if done.cells_in_csv_only > 0 {
        say!(
            "{} cells are too long for an .xlsx file and stand in the .csv files only",
            done.cells_in_csv_only
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The files of a spreadsheet beside what else was `done`.
async fn files(
    spreadsheet: &Spreadsheet,
    place: &str,
    directory: &Path,
    done: Backup,
) -> Result<Backup, BackupError> {
    let Backup { copy, copy_id, binned, not_binned, .. } = done;
    Ok(Backup { copy, copy_id, binned, not_binned, ..backup::save(spreadsheet, place, directory).await? })
}

/// What to restore.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(super) struct Restore {
    /// Only compare the backup with the source, row by row. Exits 0 if each row of both is in the other, else 1.
    #[arg(long, group = "what")]
    check: bool,
    /// Put the state back from this file, where there is none.
    #[arg(long, value_name = "FILE", group = "what", conflicts_with_all = ["backup", "copy"])]
    state: Option<PathBuf>,
    /// The backup: a folder of .csv files, or an .xlsx file.
    #[arg(required_unless_present_any = ["copy", "state"])]
    backup: Option<PathBuf>,
    /// The backup is a copy in Drive: its id.
    #[arg(long, value_name = "ID", conflicts_with = "backup", value_parser = SpreadsheetId::parse)]
    copy: Option<SpreadsheetId>,
}

pub(super) async fn restore(settings: Settings, options: Restore, json: bool) -> Ended {
    if let Some(file) = &options.state {
        let to = Database::put_back(&settings.database, file, &settings.data_dir).await?;
        let state = super::state(&settings).await?;
        // That the file is whole was found before it was put there.
        let (links, broken) = match state.links().await {
            Ok(links) => (links.len(), verify(&links, &settings.audit_key).len()),
            Err(_) => (0, 1),
        };
        match json {
            true => print_json(&json!({ "state": to, "audit_links": links, "audit_broken": broken }))?,
            false => say!("restored {}: {links} links of the audit, {broken} broken", to.display())?,
        }
        return Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) });
    }
    let live: Box<dyn Source> = setup::source(&settings)?;
    let comparison = match options.backup {
        Some(path) => {
            let kept = Workbook::at(path.clone(), settings.sheets.clone());
            backup::compare(&kept, Some(&path), live.as_ref()).await?
        }
        None => {
            let copy = Settings { spreadsheet: options.copy, ..settings };
            backup::compare(&setup::spreadsheet(&copy, scope::READ)?, None, live.as_ref()).await?
        }
    };
    let whole = comparison.only_in_backup.is_empty() && comparison.only_in_source.is_empty();
    if json {
        print_json(&comparison)?;
    } else {
        say!("{} rows are the same", comparison.same)?;
        for (what, rows) in [("backup", &comparison.only_in_backup), ("source", &comparison.only_in_source)] {
            for (sheet, row) in rows {
                say!("only in the {what}: {sheet} row {row}")?;
            }
        }
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

pub(super) async fn init(settings: Settings, json: bool) -> Ended {
    let client = setup::client(&settings, scope::WRITE)?;
    let made = layout::create(&client, setup::spreadsheet_id(&settings)?, &settings.sheets).await?;
    if json {
        print_json(&made)?;
        return Ok(ExitCode::SUCCESS);
    }
    for name in &made.made {
        say!("made     {name}")?;
    }
    for name in &made.kept {
        say!("kept     {name}, which was there")?;
    }
    Ok(ExitCode::SUCCESS)
}
