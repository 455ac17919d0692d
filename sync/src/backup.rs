//! Backups of a spreadsheet: a copy in Drive, and files of our own that can be shown to hold the same rows.
//!
//! Drive's own export ends at 10 MB, so the files are written from ranged reads: a `.csv` a tab, exact and of any length,
//! and one `.xlsx` to look at.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rust_xlsxwriter::{Workbook, XlsxError};
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use time::macros::{format_description, offset};
use time::{OffsetDateTime, format_description::BorrowedFormatItem};

use crate::google::{Client, GoogleError, drive};
use crate::judge::digest;
use crate::source::{SheetRow, Source, SourceError};
use crate::spreadsheet::Spreadsheet;

/// What every copy's name begins with.
pub const PREFIX: &str = "VectorDB_Backup_";
/// The rest of it: the time in Japan.
const STAMP: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]_[hour][minute][second]");
/// Most characters that a cell of an `.xlsx` file holds.
const XLSX_CELL: usize = 32_767;

/// Which copies in Drive stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// So many, the newest.
    pub copies: usize,
    /// Those that are younger.
    pub younger_than: Duration,
}

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Backup {
    /// Name of the copy in Drive.
    pub copy: Option<String>,
    /// Its id.
    pub copy_id: Option<String>,
    /// Earlier copies that were put into Drive's bin.
    pub binned: Vec<String>,
    /// Those that should have been, and why they were not: the rights of a shared drive may end before that.
    pub not_binned: Vec<String>,
    /// Files that were written.
    pub files: Vec<PathBuf>,
    /// Rows in them, headers among them.
    pub rows: u64,
    /// Cells too long for an `.xlsx` file, which are whole in the `.csv` files only.
    pub cells_in_csv_only: u64,
}

/// A backup did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// Google, or the way there.
    #[error(transparent)]
    Google(#[from] GoogleError),
    /// The spreadsheet.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Neither backup in the directory is whole.
    #[error("the backup in {} was broken off while it took the place of another: back up again", directory.display())]
    BrokenOff {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory is another spreadsheet's.
    #[error("{} holds the backup of {place}: choose another directory", directory.display())]
    Foreign {
        /// The directory.
        directory: PathBuf,
        /// The spreadsheet whose backup it holds.
        place: String,
    },
    /// A file cannot be written.
    #[error("the backup cannot be written: {0}")]
    Write(#[from] io::Error),
    /// The `.xlsx` file cannot be written.
    #[error("the .xlsx file cannot be written: {0}")]
    Xlsx(#[from] XlsxError),
}

/// The name of a copy made at `now`.
pub fn name(now: OffsetDateTime) -> String {
    // A moment in a time zone always has these fields.
    format!("{PREFIX}{}", now.to_offset(offset!(+9)).format(STAMP).unwrap_or_default())
}

/// Copies the spreadsheet in Drive and puts earlier copies of it that need not stay into the bin.
///
/// # Errors
/// As [`drive::copy`]. The copy is made before anything is put away.
pub async fn copy(
    client: &Client,
    id: &str,
    folder: Option<&str>,
    keep: Keep,
    now: OffsetDateTime,
) -> Result<Backup, BackupError> {
    let made = drive::copy(client, id, &name(now), folder).await?;
    let (mut binned, mut not_binned) = (Vec::new(), Vec::new());
    for (place, old) in drive::copies(client, id, folder).await?.into_iter().enumerate() {
        let age = OffsetDateTime::parse(&old.created_time, &Rfc3339).map(|then| now - then);
        // What has no readable age stays.
        let old_enough = age.is_ok_and(|age| age > keep.younger_than);
        if old.id != made.id && place >= keep.copies && old_enough {
            match drive::bin(client, &old.id).await {
                Ok(()) => binned.push(old.name),
                // The copy is made: that is what counts.
                Err(error) => not_binned.push(format!("{}: {error}", old.name)),
            }
        }
    }
    Ok(Backup { copy: Some(made.name), copy_id: Some(made.id), binned, not_binned, ..Backup::default() })
}

/// How often a source is read again because it moved.
const ROUNDS: u32 = 3;
/// What the name of a directory begins with in which a backup is written.
const PART: &str = ".part-";
/// Most bytes of a file's name before its number and its ending.
const LONGEST_NAME: usize = 200;
/// Name of the list of a backup's files.
const LIST: &str = "backup.json";
/// Its name while another backup takes the place of the one that it lists.
const OLD_LIST: &str = "backup.old.json";
/// After so long nobody writes to a directory any more that a backup was begun in.
const ABANDONED: Duration = Duration::from_secs(24 * 3_600);
/// Rows and columns of a sheet of an `.xlsx` file.
const XLSX_GRID: (u64, usize) = (1_048_576, 16_384);
/// Name of the file to look at.
const XLSX: &str = "spreadsheet.xlsx";

/// What files a backup consists of: [`LIST`] in its directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct List {
    /// The spreadsheet, as an address.
    place: String,
    /// One file a tab, in order.
    tabs: Vec<ListedTab>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct ListedTab {
    title: String,
    file: String,
    /// Its name in the `.xlsx` file.
    sheet: String,
    rows: u64,
}

impl List {
    /// The list in `directory`, if there is one that can be read.
    fn of(directory: &Path) -> Option<Self> {
        Self::in_file(&directory.join(LIST))
    }

    fn in_file(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
}

/// Who takes in everything that a source holds, and begins anew if it moved meanwhile.
trait Reading: Send {
    fn begin(&mut self) -> Result<(), BackupError>;
    fn row(&mut self, tab: &str, row: &SheetRow) -> Result<(), BackupError>;
}

/// Reads all of `source` until it held still: an edit between two pages would double a row, or lose one.
async fn read_still(source: &dyn Source, reading: &mut dyn Reading) -> Result<(), BackupError> {
    let mut last = None;
    for _ in 0..ROUNDS {
        let version = source.version().await?;
        reading.begin()?;
        let (mut hasher, mut failed) = (blake3::Hasher::new(), Ok(()));
        let mut take = |tab: &str, row: SheetRow| {
            hasher.update(tab.as_bytes()).update(&row.number.to_le_bytes()).update(&digest(&row.cells));
            if failed.is_ok() {
                failed = reading.row(tab, &row);
            }
        };
        source.everything(&mut take).await?;
        failed?;
        if source.version().await? == version {
            return Ok(());
        }
        // The same cells twice: whatever made the version grow was none of them.
        let digest = hasher.finalize();
        if last.replace(digest) == Some(digest) {
            return Ok(());
        }
    }
    Err(SourceError::Moving { name: source.name(), rounds: ROUNDS }.into())
}

/// Writes every tab of `spreadsheet`, which is that of `place` or a copy of it, to `directory`: `<tab>.csv`, all of them to
/// `spreadsheet.xlsx`, and which is which to `backup.json`. An earlier backup there stays until this one is whole and takes its
/// place, file by file: where that was broken off, there is `backup.old.json` instead, and neither is whole.
///
/// # Errors
/// A spreadsheet that cannot be read, or does not hold still; a directory that cannot be written, or holds another's backup.
pub async fn save(spreadsheet: &Spreadsheet, place: &str, directory: &Path) -> Result<Backup, BackupError> {
    fs::create_dir_all(directory)?;
    let before = List::of(directory).or_else(|| List::in_file(&directory.join(OLD_LIST))).unwrap_or_default();
    if !before.place.is_empty() && before.place != place {
        return Err(BackupError::Foreign { directory: directory.to_owned(), place: before.place });
    }
    // What a run that was killed left behind, long ago enough that it is none that goes on.
    for entry in fs::read_dir(directory)?.flatten() {
        let old = entry.metadata().and_then(|metadata| metadata.modified());
        let old = old.is_ok_and(|then| then.elapsed().is_ok_and(|age| age > ABANDONED));
        if old && entry.path().is_dir() && entry.file_name().as_encoded_bytes().starts_with(PART.as_bytes()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let mut saving = Saving { directory, place: place.to_owned(), files: None };
    read_still(spreadsheet, &mut saving).await?;
    let Some(files) = saving.files else { return Ok(Backup::default()) };
    let (part, list, mut backup) = files.finish()?;
    let gone = |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) };
    fs::rename(directory.join(LIST), directory.join(OLD_LIST)).or_else(gone)?;
    for name in list.tabs.iter().map(|tab| tab.file.as_str()).chain([XLSX]) {
        fs::rename(part.path().join(name), directory.join(name))?;
        backup.files.push(directory.join(name));
    }
    // A tab that is gone leaves no file behind; nobody else's files are touched.
    for old in before.tabs.iter().filter(|tab| !list.tabs.iter().any(|kept| kept.file == tab.file)) {
        let name = Path::new(&old.file).file_name().unwrap_or_default();
        fs::remove_file(directory.join(name)).or_else(gone)?;
    }
    fs::rename(part.path().join(LIST), directory.join(LIST))?;
    fs::remove_file(directory.join(OLD_LIST)).or_else(gone)?;
    Ok(backup)
}

/// A backup that is written, from the beginning whenever the spreadsheet moved.
struct Saving<'a> {
    directory: &'a Path,
    place: String,
    files: Option<Files>,
}

impl Reading for Saving<'_> {
    fn begin(&mut self) -> Result<(), BackupError> {
        let part = tempfile::Builder::new().prefix(PART).tempdir_in(self.directory)?;
        let list = List { place: self.place.clone(), tabs: Vec::new() };
        let (workbook, backup) = (Workbook::new(), Backup::default());
        self.files = Some(Files { part, workbook, open: None, list, backup });
        Ok(())
    }

    fn row(&mut self, tab: &str, row: &SheetRow) -> Result<(), BackupError> {
        match &mut self.files {
            Some(files) => files.row(tab, &row.cells),
            None => Ok(()),
        }
    }
}

/// The files of a backup while they are written.
struct Files {
    part: TempDir,
    workbook: Workbook,
    /// The tab that is written.
    open: Option<csv::Writer<fs::File>>,
    list: List,
    backup: Backup,
}

impl Files {
    fn row(&mut self, title: &str, cells: &[String]) -> Result<(), BackupError> {
        if self.list.tabs.last().is_none_or(|tab| tab.title != title) {
            self.begin(title)?;
        }
        let sheet = self.list.tabs.len().saturating_sub(1);
        let (Some(writer), Some(tab)) = (&mut self.open, self.list.tabs.last_mut()) else { return Ok(()) };
        writer.write_record(cells).map_err(io::Error::other)?;
        let sheet = self.workbook.worksheet_from_index(sheet)?;
        for (column, text) in (0u16..=u16::MAX).zip(cells).filter(|(_, text)| !text.is_empty()) {
            let beyond = tab.rows >= XLSX_GRID.0 || usize::from(column) >= XLSX_GRID.1;
            if beyond || text.chars().count() > XLSX_CELL {
                self.backup.cells_in_csv_only += 1;
            } else {
                sheet.write_string(tab.rows as u32, column, text)?;
            }
        }
        tab.rows += 1;
        self.backup.rows += 1;
        Ok(())
    }

    fn begin(&mut self, title: &str) -> Result<(), BackupError> {
        self.end()?;
        // A tab may be called anything; a file may not, nor at any length.
        let unfit = |c: char| "/\\:*?\"<>|".contains(c) || c.is_control();
        let mut name: String = title.chars().map(|c| if unfit(c) { '_' } else { c }).collect();
        name.truncate(name.floor_char_boundary(LONGEST_NAME));
        let numbered = |number: u32| match number {
            1 => format!("{name}.csv"),
            number => format!("{name} ({number}).csv"),
        };
        let is_free = |file: &String| !self.list.tabs.iter().any(|tab| tab.file == *file);
        let Some(file) = (1..).map(numbered).find(is_free) else { return Ok(()) };
        let is_free =
            |sheet: &String| !self.list.tabs.iter().any(|tab| tab.sheet.eq_ignore_ascii_case(sheet));
        let first = self.list.tabs.len() + 1;
        let Some(sheet) = (first..).map(|number| sheet_name(title, first, number)).find(is_free) else {
            return Ok(());
        };
        let path = self.part.path().join(&file);
        let writer = csv::WriterBuilder::new().flexible(true).from_path(&path).map_err(io::Error::other)?;
        // Row by row to the disk: a spreadsheet of vectors is larger than memory should be.
        self.workbook.add_worksheet_with_constant_memory()?.set_name(&sheet)?;
        self.list.tabs.push(ListedTab { title: title.to_owned(), file, sheet, rows: 0 });
        self.open = Some(writer);
        Ok(())
    }

    fn end(&mut self) -> Result<(), BackupError> {
        if let Some(writer) = self.open.take() {
            writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?.sync_all()?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(TempDir, List, Backup), BackupError> {
        self.end()?;
        if self.list.tabs.is_empty() {
            // No workbook is without a sheet.
            self.workbook.add_worksheet();
        }
        self.workbook.save(self.part.path().join(XLSX))?;
        let list = serde_json::to_vec_pretty(&self.list).map_err(io::Error::other)?;
        fs::write(self.part.path().join(LIST), list)?;
        Ok((self.part, self.list, self.backup))
    }
}

/// What tab number `first` may be called in an `.xlsx` file: its title, unless that is too long there or has a sign that
/// no sheet's name may have; then, or for any other `number`, as much of it as may be, with the number.
fn sheet_name(title: &str, first: usize, number: usize) -> String {
    /// Most characters of a sheet's name.
    const LONGEST: usize = 31;
    let unfit = |c: char| "[]:*?/\\'".contains(c) || c.is_control();
    if number == first && title.chars().count() <= LONGEST && !title.contains(unfit) {
        return title.to_owned();
    }
    let cleaned = title.chars().map(|c| if unfit(c) { '_' } else { c });
    format!("{} {number}", cleaned.take(LONGEST - 8).collect::<String>())
}

/// How a backup compares with the living source.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Comparison {
    /// Rows that are the same, cell by cell.
    pub same: u64,
    /// Rows that only the backup has, by sheet and row.
    pub only_in_backup: Vec<(String, u32)>,
    /// Rows that only the source has.
    pub only_in_source: Vec<(String, u32)>,
}

/// The rows of each tab, by their digests.
#[derive(Default)]
struct Rows(HashMap<(String, [u8; 32]), Vec<u32>>);

impl Reading for Rows {
    fn begin(&mut self) -> Result<(), BackupError> {
        self.0.clear();
        Ok(())
    }

    fn row(&mut self, tab: &str, row: &SheetRow) -> Result<(), BackupError> {
        self.0.entry((tab.to_owned(), digest(&row.cells))).or_default().push(row.number);
        Ok(())
    }
}

/// Compares the digests of all rows of all tabs of a backup and of what it was made of: headers, vectors and all. `kept` is where
/// the backup's files are: their list tells which file, or which sheet of the `.xlsx` file, is which tab; other files beside
/// them are no part of it.
///
/// # Errors
/// One that cannot be read.
pub async fn compare(
    backup: &dyn Source,
    kept: Option<&Path>,
    source: &dyn Source,
) -> Result<Comparison, BackupError> {
    let directory = kept.map(|kept| if kept.is_dir() { kept } else { kept.parent().unwrap_or(kept) });
    let list = directory.and_then(List::of);
    if let Some(directory) = directory.filter(|directory| directory.join(OLD_LIST).exists()) {
        return Err(BackupError::BrokenOff { directory: directory.to_owned() });
    }
    let in_files = kept.is_some_and(Path::is_dir);
    let mut live = Rows::default();
    read_still(source, &mut live).await?;
    let Rows(mut rows) = live;
    // Of equal rows the first are met first.
    rows.values_mut().for_each(|numbers| numbers.reverse());
    let mut comparison = Comparison::default();
    let mut take = |tab: &str, row: SheetRow| {
        let file = format!("{tab}.csv");
        let is_it = |listed: &&ListedTab| if in_files { listed.file == file } else { listed.sheet == tab };
        let listed = |list: &List| list.tabs.iter().find(is_it).map(|tab| tab.title.clone());
        let title = match &list {
            None => tab.to_owned(),
            Some(list) => match listed(list) {
                Some(title) => title,
                None => return,
            },
        };
        match rows.get_mut(&(title.clone(), digest(&row.cells))).and_then(Vec::pop) {
            Some(_) => comparison.same += 1,
            None => comparison.only_in_backup.push((title, row.number)),
        }
    };
    backup.everything(&mut take).await?;
    let left =
        rows.into_iter().flat_map(|((tab, _), rows)| rows.into_iter().map(move |row| (tab.clone(), row)));
    comparison.only_in_source.extend(left);
    comparison.only_in_source.sort_unstable();
    Ok(comparison)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_copy_is_named_by_the_time_in_japan() {
        assert_eq!(name(datetime!(2026-11-25 16:04:05 UTC)), "VectorDB_Backup_20261126_010405");
    }
}
