//! A spreadsheet as Google keeps it: tabs with grids of typed cells, read by ranges in A1 notation.

use serde_json::{Value, json};

/// A cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell {
    /// Nothing.
    #[default]
    Empty,
    /// A text.
    Text(String),
    /// A number; also what looks like one to whoever typed it.
    Number(f64),
    /// TRUE or FALSE.
    Bool(bool),
    /// A day as its serial number, with the text that the sheet shows.
    Date(f64, String),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text.to_owned()) }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text) }
    }
}

/// Most characters of one cell.
pub const MOST_CHARACTERS: usize = 50_000;

/// How cells are shown to a reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rendering {
    /// `valueRenderOption` is not FORMATTED_VALUE.
    pub unformatted: bool,
    /// `dateTimeRenderOption` is FORMATTED_STRING.
    pub dates_as_text: bool,
}

impl Cell {
    fn render(&self, how: Rendering) -> Value {
        match self {
            Self::Empty => json!(""),
            Self::Text(text) => json!(text),
            Self::Bool(truth) if how.unformatted => json!(truth),
            Self::Bool(truth) => json!(if *truth { "TRUE" } else { "FALSE" }),
            Self::Number(number) if how.unformatted => number_of(*number),
            Self::Number(number) => json!(number_of(*number).to_string()),
            Self::Date(serial, _) if how.unformatted && !how.dates_as_text => number_of(*serial),
            Self::Date(_, shown) => json!(shown),
        }
    }
}

/// A double as Google writes it: whole numbers without a fraction.
fn number_of(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { json!(number as i64) } else { json!(number) }
}

/// A tab.
#[derive(Clone, Debug)]
pub struct Tab {
    /// Its name.
    pub title: String,
    /// Its number.
    pub gid: i64,
    /// Filled rows.
    pub rows: Vec<Vec<Cell>>,
    /// Rows of the grid.
    pub row_count: usize,
    /// Columns of the grid.
    pub column_count: usize,
}

impl Tab {
    /// A tab with these rows in a grid of at least 1,000 rows and 26 columns, as Google makes one.
    pub fn new(title: &str, gid: i64, rows: Vec<Vec<Cell>>) -> Self {
        let widest = rows.iter().map(Vec::len).max().unwrap_or_default();
        let (row_count, column_count) = (rows.len().max(1_000), widest.max(26));
        Self { title: title.to_owned(), gid, rows, row_count, column_count }
    }

    /// Moves `place` behind the table in it: the one that its corner is in, or in a `whole` tab the last one. The table goes on in
    /// its first column; what stands below it makes room.
    pub fn behind_the_table(&mut self, place: &mut Range, whole: bool) {
        let filled =
            |row: &[Cell]| row.iter().position(|cell| *cell != Cell::Empty && *cell != Cell::from(""));
        let last = self.rows.iter().rposition(|row| filled(row).is_some());
        let (top, bottom) = match (whole, last) {
            (true, Some(last)) => {
                let above = self.rows[..last].iter().rposition(|row| filled(row).is_none());
                (above.map_or(0, |above| above + 1), last + 1)
            }
            _ => {
                let top = place.rows.start.min(self.rows.len());
                let length = self.rows[top..].iter().position(|row| filled(row).is_none());
                (top, length.map_or(self.rows.len(), |length| top + length))
            }
        };
        if bottom < self.rows.len() {
            self.rows.insert(bottom, Vec::new());
        }
        place.columns.start = self.rows[top..bottom].iter().filter_map(|row| filled(row)).min().unwrap_or(0);
        place.rows.start = bottom;
    }

    /// Makes the grid large enough for the rows.
    pub fn grow(&mut self) {
        let widest = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        self.row_count = self.row_count.max(self.rows.len());
        self.column_count = self.column_count.max(widest);
    }
}

/// A spreadsheet.
#[derive(Clone, Debug, Default)]
pub struct Workbook {
    /// Its tabs.
    pub tabs: Vec<Tab>,
}

/// What a range names: a tab, rows and columns from 0, ends excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub(super) tab: usize,
    pub(super) rows: std::ops::Range<usize>,
    pub(super) columns: std::ops::Range<usize>,
}

impl Workbook {
    /// The tab with this title.
    pub fn tab(&mut self, title: &str) -> Option<&mut Tab> {
        self.tabs.iter_mut().find(|tab| tab.title == title)
    }

    /// Reads a range in A1 notation; the error is Google's message.
    pub fn range(&self, text: &str) -> Result<Range, String> {
        let unparsable = || format!("Unable to parse range: {text}");
        let (title, cells) = match text.strip_prefix('\'') {
            Some(rest) => {
                let end = closing_quote(rest).ok_or_else(unparsable)?;
                (rest[..end].replace("''", "'"), rest[end + 1..].strip_prefix('!'))
            }
            None => match text.split_once('!') {
                Some((title, cells)) => (title.to_owned(), Some(cells)),
                None => (text.to_owned(), None),
            },
        };
        let tab = self.tabs.iter().position(|tab| tab.title == title).ok_or_else(unparsable)?;
        let grid = &self.tabs[tab];
        let Some(cells) = cells else {
            return Ok(Range { tab, rows: 0..grid.row_count, columns: 0..grid.column_count });
        };
        let (from, to) = cells.split_once(':').unwrap_or((cells, cells));
        let (left, top) = corner(from).ok_or_else(unparsable)?;
        let (right, bottom) = corner(to).ok_or_else(unparsable)?;
        let rows = top.map_or(0, |row| row - 1)..bottom.unwrap_or(grid.row_count);
        let columns = left.map_or(0, |column| column - 1)..right.unwrap_or(grid.column_count);
        if rows.end > grid.row_count || columns.end > grid.column_count {
            let (rows, columns) = (grid.row_count, grid.column_count);
            return Err(format!(
                "Range ({text}) exceeds grid limits. Max rows: {rows}, max columns: {columns}"
            ));
        }
        Ok(Range { tab, rows, columns })
    }

    /// A `ValueRange`: rows without their empty ends; no `values` where there are none.
    pub fn values(&self, text: &str, range: &Range, how: Rendering) -> Value {
        let tab = &self.tabs[range.tab];
        let mut rows: Vec<Vec<Value>> = Vec::new();
        for row in tab.rows.iter().take(range.rows.end).skip(range.rows.start) {
            let cells = row.iter().take(range.columns.end).skip(range.columns.start);
            let mut cells: Vec<&Cell> = cells.collect();
            while cells.last().is_some_and(|cell| **cell == Cell::Empty) {
                cells.pop();
            }
            rows.push(cells.into_iter().map(|cell| cell.render(how)).collect());
        }
        while rows.last().is_some_and(Vec::is_empty) {
            rows.pop();
        }
        match rows.is_empty() {
            true => json!({"range": text, "majorDimension": "ROWS"}),
            false => json!({"range": text, "majorDimension": "ROWS", "values": rows}),
        }
    }

    /// Writes cells from the upper left corner of `range`; the error is Google's message.
    pub fn write(&mut self, range: &Range, values: &[Vec<Cell>]) -> Result<(), String> {
        for cell in values.iter().flatten() {
            if let Cell::Text(text) = cell
                && text.chars().count() > MOST_CHARACTERS
            {
                return Err(
                    "Your input contains more than the maximum of 50000 characters in a single cell.".into(),
                );
            }
        }
        let tab = &mut self.tabs[range.tab];
        for (number, cells) in (range.rows.start..).zip(values) {
            tab.rows.resize(tab.rows.len().max(number + 1), Vec::new());
            let row = &mut tab.rows[number];
            row.resize(row.len().max(range.columns.start + cells.len()), Cell::Empty);
            row[range.columns.start..][..cells.len()].clone_from_slice(cells);
        }
        tab.grow();
        Ok(())
    }
}

/// Where a quoted title ends: the first quotation mark that is not doubled.
fn closing_quote(text: &str) -> Option<usize> {
    let mut marks = text.match_indices('\'').map(|(at, _)| at).peekable();
    while let Some(at) = marks.next() {
        if marks.next_if_eq(&(at + 1)).is_none() {
            return Some(at);
        }
    }
    None
}

/// Column and row of `A2`, `A` or `2`, from 1.
fn corner(text: &str) -> Option<(Option<usize>, Option<usize>)> {
    let letters = text.len() - text.trim_start_matches(|c: char| c.is_ascii_uppercase()).len();
    let (letters, digits) = text.split_at(letters);
    let column = letters.bytes().fold(0, |column, letter| column * 26 + usize::from(letter - b'A') + 1);
    let row = if digits.is_empty() { None } else { Some(digits.parse().ok().filter(|row| *row > 0)?) };
    if letters.is_empty() && row.is_none() {
        return None;
    }
    Some(((!letters.is_empty()).then_some(column), row))
}
