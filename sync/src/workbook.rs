//! Workbooks on disk: an `.xlsx` file, a folder of `.csv` files, or the sample that the program carries.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Read, Seek};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use calamine::{Data, Reader, Xlsx};

use crate::source::{Sheet, SheetNames, SheetRow, Sheets, Source, SourceError, TakeRow, TakeVector};

/// Largest file that is read, so that a wrong path cannot fill the memory.
const SIZE_LIMIT: u64 = 1 << 30;
/// How many rows are read between two reports of progress.
const REPORT_EVERY: u64 = 100;

/// Columns that are read. Sheets of this kind have fifteen; what stands far to the right is a stray cell.
const MOST_COLUMNS: u32 = 256;

/// The sample workbook, compressed as every `.xlsx` is.
static SAMPLE: &[u8] = include_bytes!("../sample/karute-sample.xlsx");

/// A workbook. Nothing is read before it is asked for, so that one that is gone still has a name.
#[derive(Clone, Debug)]
pub struct Workbook {
    place: Place,
    sheets: SheetNames,
}

#[derive(Clone, Debug)]
enum Place {
    Sample,
    /// A folder of `.csv` files, or else an `.xlsx` file.
    Path(PathBuf),
}

impl Workbook {
    /// The sample that the program carries: fictional records of a home-nursing station.
    pub fn sample() -> Self {
        Self { place: Place::Sample, sheets: SheetNames::default() }
    }

    /// The workbook at `path`: a folder holds a `.csv` file for each sheet, anything else must be an `.xlsx` file.
    pub fn at(path: impl Into<PathBuf>, sheets: SheetNames) -> Self {
        Self { place: Place::Path(path.into()), sheets }
    }

    fn unreadable(&self, detail: impl ToString) -> SourceError {
        SourceError::Unreadable { name: self.name(), detail: detail.to_string() }
    }

    fn needed(&self) -> [&String; 3] {
        [&self.sheets.knowledge_base, &self.sheets.embeddings, &self.sheets.medical_terms]
    }

    fn read_xlsx<R: Read + Seek>(&self, reader: R, rows_read: &dyn Fn(u64)) -> Result<Sheets, SourceError> {
        let mut workbook = Xlsx::new(reader).map_err(|error| self.unreadable(error))?;
        let found = workbook.sheet_names();
        self.check_sheets(&found)?;
        let sheet = |name: &String| -> Result<Sheet, SourceError> {
            let rows = self.xlsx_rows(&mut workbook, name, MOST_COLUMNS)?;
            Ok(collect(name, rows.map(|row| (row.number, row.cells)), rows_read))
        };
        self.sheets_of(&found, sheet)
    }

    /// The sheets, each as `sheet` reads it by its name; of those that may be missing, what is among `found`.
    fn sheets_of(
        &self,
        found: &[String],
        mut sheet: impl FnMut(&String) -> Result<Sheet, SourceError>,
    ) -> Result<Sheets, SourceError> {
        let [knowledge_base, embeddings, medical_terms] = self.needed().map(&mut sheet);
        let clients =
            Some(&self.sheets.clients).filter(|name| found.contains(name)).map(sheet).transpose()?;
        Ok(Sheets {
            knowledge_base: knowledge_base?,
            embeddings: embeddings?,
            medical_terms: medical_terms?,
            clients,
        })
    }

    fn xlsx_rows<R: Read + Seek>(
        &self,
        workbook: &mut Xlsx<R>,
        name: &str,
        most_columns: u32,
    ) -> Result<impl Iterator<Item = SheetRow> + use<R>, SourceError> {
        let mut cells = workbook.worksheet_cells_reader(name).map_err(|error| self.unreadable(error))?;
        // Cell by cell, because a sheet's stated extent may be any size: one stray cell in its last corner would
        // otherwise ask for the whole rectangle.
        let mut rows: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        while let Some(cell) = cells.next_cell().map_err(|error| self.unreadable(error))? {
            let (number, column) = cell.get_position();
            if column >= most_columns {
                continue;
            }
            let row = rows.entry(number).or_default();
            let column = column as usize;
            if row.len() <= column {
                row.resize(column + 1, String::new());
            }
            row[column] = text(&Data::from(cell.get_value().clone()));
        }
        Ok(rows.into_iter().map(|(number, cells)| SheetRow { number: number + 1, cells }))
    }

    fn read_csv(&self, folder: &Path, rows_read: &dyn Fn(u64)) -> Result<Sheets, SourceError> {
        let mut found = Vec::new();
        for path in csv_files(folder)? {
            found.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
        self.check_sheets(&found)?;
        let sheet = |name: &String| -> Result<Sheet, SourceError> {
            let path = folder.join(format!("{name}.csv"));
            let bytes = read_limited(&path)?;
            let text = std::str::from_utf8(&bytes).map_err(|error| SourceError::Unreadable {
                name: path.display().to_string(),
                detail: format!(
                    "it is not UTF-8 at byte {} (in Excel, save as \"CSV UTF-8\")",
                    error.valid_up_to()
                ),
            })?;
            let text = text.strip_prefix('\u{feff}').unwrap_or(text);
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let mut rows: Vec<(u32, Vec<String>)> = Vec::new();
            let mut number = 0;
            for record in reader.records() {
                let record = record.map_err(|error| SourceError::Unreadable {
                    name: path.display().to_string(),
                    detail: error.to_string(),
                })?;
                let start = record.position().map_or(0, |position| position.byte() as usize);
                number += 1 + blank_lines(text, start);
                rows.push((number, record.iter().map(str::to_owned).collect()));
            }
            // A quotation mark that is never closed swallows every row behind it into one cell.
            let open = text.matches('"').count() % 2 == 1;
            if let Some((row, cells)) =
                rows.last().filter(|(_, cells)| open && cells.iter().any(|c| c.contains('\n')))
            {
                let (name, lines) = (
                    path.display().to_string(),
                    cells.iter().map(|c| c.matches('\n').count()).sum::<usize>(),
                );
                let detail = format!(
                    "a quotation mark in row {row} is never closed, so {lines} lines behind it are lost"
                );
                return Err(SourceError::Unreadable { name, detail });
            }
            Ok(collect(name, rows.into_iter(), rows_read))
        };
        self.sheets_of(&found, sheet)
    }

    fn every_xlsx<R: Read + Seek>(&self, reader: R, take: TakeRow<'_>) -> Result<(), SourceError> {
        let mut workbook = Xlsx::new(reader).map_err(|error| self.unreadable(error))?;
        for name in workbook.sheet_names() {
            self.xlsx_rows(&mut workbook, &name, u32::MAX)?.for_each(|row| take(&name, row));
        }
        Ok(())
    }

    fn read_now(&self, rows_read: &dyn Fn(u64)) -> Result<Sheets, SourceError> {
        match &self.place {
            Place::Sample => self.read_xlsx(Cursor::new(SAMPLE), rows_read),
            Place::Path(folder) if folder.is_dir() => self.read_csv(folder, rows_read),
            Place::Path(path) => self.read_xlsx(Cursor::new(read_limited(path)?), rows_read),
        }
    }

    fn check_sheets(&self, found: &[String]) -> Result<(), SourceError> {
        match self.needed().into_iter().find(|name| !found.contains(name)) {
            None => Ok(()),
            Some(sheet) => Err(SourceError::MissingSheet {
                name: self.name(),
                sheet: sheet.clone(),
                found: if found.is_empty() { "none".into() } else { found.join(", ") },
            }),
        }
    }
}

#[async_trait]
impl Source for Workbook {
    fn name(&self) -> String {
        match &self.place {
            Place::Sample => "karute-sample.xlsx".into(),
            Place::Path(path) => path
                .file_name()
                .map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into()),
        }
    }

    fn place(&self) -> String {
        match &self.place {
            Place::Sample => "the built-in sample".into(),
            // A path that is gone has no other form than the one it was given in, made absolute.
            Place::Path(path) => fs::canonicalize(path)
                .or_else(|_| std::path::absolute(path))
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
        }
    }

    async fn version(&self) -> Result<String, SourceError> {
        let mut hasher = blake3::Hasher::new();
        for name in self.needed() {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        }
        match &self.place {
            Place::Sample => {
                hasher.update(SAMPLE);
            }
            Place::Path(path) if !path.is_dir() => {
                hasher.update(&read_limited(path)?);
            }
            Place::Path(folder) => {
                for path in csv_files(folder)? {
                    let bytes = read_limited(&path)?;
                    hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
                    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
                }
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    async fn read(&self, rows_read: &(dyn Fn(u64) + Sync)) -> Result<Sheets, SourceError> {
        self.read_now(rows_read)
    }

    async fn vectors(
        &self,
        sheets: &Sheets,
        wanted: &[usize],
        take: TakeVector<'_>,
    ) -> Result<(), SourceError> {
        for (at, row) in wanted.iter().filter_map(|&at| Some((at, sheets.embeddings.rows.get(at)?))) {
            let cells: Vec<&str> = row.cells.iter().map(String::as_str).collect();
            if take(at, &cells) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    async fn everything(&self, take: TakeRow<'_>) -> Result<(), SourceError> {
        match &self.place {
            Place::Sample => self.every_xlsx(Cursor::new(SAMPLE), take),
            Place::Path(folder) if folder.is_dir() => every_csv(folder, take),
            Place::Path(path) => self.every_xlsx(Cursor::new(read_limited(path)?), take),
        }
    }
}

/// Row by row from the disk: vectors of a large sheet are more than memory should hold.
fn every_csv(folder: &Path, take: TakeRow<'_>) -> Result<(), SourceError> {
    for path in csv_files(folder)? {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let failed = |error: csv::Error| SourceError::Unreadable {
            name: path.display().to_string(),
            detail: error.to_string(),
        };
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(&path).map_err(failed)?;
        for (number, record) in (1..).zip(reader.records()) {
            let cells = record.map_err(failed)?.iter().map(str::to_owned).collect();
            take(&name, SheetRow { number, cells });
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io { path, source }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, SourceError> {
    let bytes = fs::metadata(path).map_err(io(path))?.len();
    if bytes > SIZE_LIMIT {
        let name = path.display().to_string();
        return Err(SourceError::TooLarge { name, bytes, limit: SIZE_LIMIT });
    }
    fs::read(path).map_err(io(path))
}

/// The `.csv` files of a folder, in the order of their names.
fn csv_files(folder: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// How many blank lines stand before the record that the reader began to look for at byte `start`. They are no records,
/// but they are rows to a person.
fn blank_lines(text: &str, start: usize) -> u32 {
    let rest = text.get(start..).unwrap_or_default();
    // The reader may begin between the two characters of the line break that ended the record before.
    let rest = match text[..text.len() - rest.len()].ends_with('\r') {
        true => rest.strip_prefix('\n').unwrap_or(rest),
        false => rest,
    };
    let breaks = rest.len() - rest.trim_start_matches(['\r', '\n']).len();
    rest[..breaks].matches('\n').count() as u32
}

/// Makes a sheet of numbered rows: the first is the header, rows without any text are left out.
fn collect(name: &str, mut rows: impl Iterator<Item = (u32, Vec<String>)>, rows_read: &dyn Fn(u64)) -> Sheet {
    let header = rows.next().map(|(_, cells)| cells).unwrap_or_default();
    let mut sheet = Sheet { name: name.to_owned(), gid: None, header, rows: Vec::new() };
    let mut unreported = 0;
    for (number, cells) in rows.filter(|(_, cells)| cells.iter().any(|cell| !cell.trim().is_empty())) {
        sheet.rows.push(SheetRow { number, cells });
        unreported += 1;
        if unreported == REPORT_EVERY {
            rows_read(std::mem::take(&mut unreported));
        }
    }
    rows_read(unreported);
    sheet
}

/// A cell as a person would read it: whole numbers without a fraction, dates as ISO 8601.
fn text(cell: &Data) -> String {
    match cell {
        Data::Empty => String::new(),
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => text.clone(),
        Data::Float(number) => number.to_string(),
        Data::Int(number) => number.to_string(),
        Data::Bool(truth) => truth.to_string().to_uppercase(),
        Data::Error(error) => error.to_string(),
        Data::DateTime(moment) => {
            let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
            match (hour, minute, second) {
                (0, 0, 0) => format!("{year:04}-{month:02}-{day:02}"),
                _ => format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<u32>, SourceError> {
        let folder = tempfile::tempdir().expect("a directory");
        for name in ["KnowledgeBase", "Embeddings", "MedicalTerms"] {
            fs::write(folder.path().join(format!("{name}.csv")), text).expect("written");
        }
        let sheets = Workbook::at(folder.path(), SheetNames::default()).read_now(&|_| {})?;
        Ok(sheets.knowledge_base.rows.iter().map(|row| row.number).collect())
    }

    #[test]
    fn a_row_of_a_csv_file_has_the_number_that_a_person_sees() {
        for (text, expected) in [
            ("h\na\nb\n", &[2, 3][..]),
            ("h\na\n\nb\n\n\nc\nd\n", &[2, 4, 7, 8]),
            ("h\r\na\r\n\r\nb\r\n\r\n\r\nc\r\nd\r\n", &[2, 4, 7, 8]),
            ("h\n\na\nb", &[3, 4]),
            ("\u{feff}h\n\"two\nlines\"\nb\n", &[2, 3]),
        ] {
            assert_eq!(rows(text).expect("readable"), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_loses_nothing_in_silence() {
        let error = rows("h,i\na,1\n\"b,2\nc,3\n").expect_err("an open quotation");
        assert!(error.to_string().contains("row 3"), "{error}");
        assert_eq!(rows("h,i\na 5\" pipe,1\nb,2\n").expect("a mark inside a cell").len(), 2);
    }
}
