//! `karute backup`, `karute restore --check`, `karute init-sheet`: what is done to the spreadsheet as a whole.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use karute_sync::backup::{self, Backup, Keep};
use karute_sync::google::scope;
use karute_sync::layout;
use karute_sync::source::Source;
use karute_sync::workbook::Workbook;
use time::OffsetDateTime;

use super::print_json;
use crate::config::{Settings, SpreadsheetId, Value};
use crate::setup;

/// Exit code of a backup that does not hold the rows of the source.
const DIFFERENT: u8 = 1;

type Ended = Result<ExitCode, Box<dyn std::error::Error>>;

/// What to back up.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Write every tab to this directory: .csv files, and an .xlsx file to look at.
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Make no copy in Drive.
    #[arg(long, requires = "out")]
    files_only: bool,
}

pub(super) async fn run(settings: Settings, options: Options, json: bool) -> Ended {
    let mut done = Backup::default();
    let scopes = if options.files_only { scope::READ } else { scope::BACKUP };
    let spreadsheet = setup::spreadsheet(&settings, scopes)?;
    if !options.files_only {
        let keep = Keep {
            copies: settings.backup_keep,
            younger_than: Duration::from_secs(settings.backup_days * 24 * 3_600),
        };
        let folder = Some(settings.backup_folder.as_str()).filter(|folder| !folder.is_empty());
        let id = setup::spreadsheet_id(&settings)?;
        done = backup::copy(spreadsheet.client(), id, folder, keep, OffsetDateTime::now_utc()).await?;
    }
    if let Some(directory) = &options.out {
        let files = backup::save(&spreadsheet, directory).await?;
        let Backup { copy, copy_id, binned, not_binned, .. } = done;
        done = Backup { copy, copy_id, binned, not_binned, ..files };
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

/// What to restore.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// Only compare the backup with the source, row by row. Exits 0 if each row of both is in the other, else 1.
    #[arg(long, required = true)]
    check: bool,
    /// The backup: a folder of .csv files, or an .xlsx file.
    #[arg(required_unless_present = "copy")]
    backup: Option<PathBuf>,
    /// The backup is a copy in Drive: its id.
    #[arg(long, value_name = "ID", conflicts_with = "backup", value_parser = SpreadsheetId::parse)]
    copy: Option<SpreadsheetId>,
}

pub(super) async fn restore(settings: Settings, options: Restore, json: bool) -> Ended {
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
