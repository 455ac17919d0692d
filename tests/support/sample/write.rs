//! Writing the sheets as files, the same bytes each time.

use std::path::Path;
use std::{fs, io};

use rust_xlsxwriter::{Color, DocProperties, ExcelDateTime, Format, Workbook};

use super::Sheet;

/// Writes each sheet to `<folder>/<name>.csv`.
///
/// # Errors
/// The file system's.
pub fn write_csv(sheets: &[Sheet], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for sheet in sheets {
        fs::write(folder.join(format!("{}.csv", sheet.name)), csv_bytes(sheet)?)?;
    }
    Ok(())
}

/// A sheet as CSV.
///
/// # Errors
/// None that is known: the writer writes to memory.
pub fn csv_bytes(sheet: &Sheet) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(sheet.header)?;
    for row in &sheet.rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| io::Error::other(error.to_string()))
}

/// Writes all sheets to one `.xlsx` file.
///
/// # Errors
/// The file system's.
pub fn write_xlsx(sheets: &[Sheet], path: &Path) -> io::Result<()> {
    xlsx(sheets).and_then(|mut workbook| workbook.save(path)).map_err(io::Error::other)
}

fn xlsx(sheets: &[Sheet]) -> Result<Workbook, rust_xlsxwriter::XlsxError> {
    let mut workbook = Workbook::new();
    // The time of writing would make every run differ.
    let written = ExcelDateTime::from_ymd(2026, 11, 1)?;
    workbook.set_properties(&DocProperties::new().set_title("karute sample").set_creation_datetime(&written));
    for sheet in sheets {
        let worksheet = workbook.add_worksheet();
        worksheet.set_name(sheet.name)?.set_freeze_panes(1, 1)?;
        let bold = Format::new().set_bold().set_background_color(Color::RGB(sheet.colour));
        for (column, title) in (0..).zip(sheet.header) {
            worksheet.write_with_format(0, column, *title, &bold)?;
        }
        for (number, row) in (1..).zip(&sheet.rows) {
            for (column, cell) in (0..).zip(row).filter(|(_, cell)| !cell.is_empty()) {
                worksheet.write_string(number, column, cell)?;
            }
        }
    }
    Ok(workbook)
}
