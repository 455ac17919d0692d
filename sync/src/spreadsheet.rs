//! A live Google spreadsheet as a source: read in pages of bounded payload, its vector cells only where they are asked
//! for.

use std::ops::ControlFlow;

use async_trait::async_trait;

use crate::google::sheets::{self, Area, Tab};
use crate::google::{Client, GoogleError, Usage, drive};
use crate::numbers::Packing;
use crate::source::{Sheet, SheetNames, SheetRow, Sheets, Source, SourceError, TakeRow, TakeVector};
use crate::vectors::is_vector_column;

/// Columns that are read. Sheets of this kind have fifteen; what stands far to the right is a stray cell.
const MOST_COLUMNS: u32 = 256;
/// What a row takes in an answer until one has been seen: a record with its texts.
const RECORD_BYTES: usize = 2_000;
/// The narrow columns of a vector.
const NARROW_BYTES: usize = 100;
/// A vector of 3072 numbers as JSON.
const VECTOR_BYTES: usize = 70_000;
/// What a row with a vector is taken for at least, however short those before it were: behind rows without vectors there
/// may be whole ones.
const SHORTEST_VECTOR: usize = 4_000;

/// A spreadsheet.
#[derive(Debug)]
pub struct Spreadsheet {
    client: Client,
    id: String,
    names: SheetNames,
    payload: usize,
}

/// Some columns of a tab, page by page.
struct Pages<'a> {
    tab: &'a Tab,
    /// First and last column of each stretch that is read.
    columns: Vec<(u32, u32)>,
    /// What a row is taken to need.
    row_bytes: usize,
    /// The first row that is read.
    first: u32,
}

impl Spreadsheet {
    /// The spreadsheet `id`. An answer is kept to about `payload` bytes.
    pub fn new(client: Client, id: impl Into<String>, names: SheetNames, payload: usize) -> Self {
        Self { client, id: id.into(), names, payload }
    }

    /// What its calls are made with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address of the spreadsheet for people.
    pub fn address(&self) -> String {
        format!("https://docs.google.com/spreadsheets/d/{}", self.id)
    }

    /// The three tabs that a sync needs, and that of the clients where it is there.
    async fn tabs(&self) -> Result<Vec<Tab>, SourceError> {
        let tabs = sheets::tabs(&self.client, &self.id).await?;
        let find = |name: &String| {
            tabs.iter().find(|tab| tab.title == *name).cloned().ok_or_else(|| SourceError::MissingSheet {
                name: self.name(),
                sheet: name.clone(),
                found: tabs.iter().map(|tab| tab.title.as_str()).collect::<Vec<_>>().join(", "),
            })
        };
        let SheetNames { knowledge_base, embeddings, medical_terms, clients, .. } = &self.names;
        let mut found = vec![find(knowledge_base)?, find(embeddings)?, find(medical_terms)?];
        found.extend(find(clients).ok());
        Ok(found)
    }

    /// Row 1 of each tab.
    async fn headers(&self, tabs: &[Tab]) -> Result<Vec<Vec<String>>, SourceError> {
        let columns = |tab: &Tab| (1, tab.columns.clamp(1, MOST_COLUMNS));
        let areas: Vec<Area<'_>> =
            tabs.iter().map(|tab| Area { tab: &tab.title, columns: columns(tab), rows: (1, 1) }).collect();
        let mut headers = Vec::with_capacity(areas.len());
        while headers.len() < areas.len() {
            let cells = sheets::cells(&self.client, &self.id, &areas[headers.len()..]).await?;
            for mut rows in cells.areas()? {
                let header = if rows.is_empty() { Vec::new() } else { rows.swap_remove(0) };
                headers.push(header.into_iter().map(|cell| cell.0.into_owned()).collect());
            }
        }
        Ok(headers)
    }

    /// What a row is to be taken for, so that a quarter of these rows is read at a time.
    fn shorter(&self, rows: u32) -> usize {
        self.payload / (rows as usize / 4).max(1)
    }

    /// Reads rows in pages of about the payload and gives those that hold anything to `take`.
    async fn rows(
        &self,
        pages: Pages<'_>,
        take: &mut (dyn FnMut(SheetRow) + Send),
        rows_read: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SourceError> {
        let Pages { tab, columns, mut row_bytes, first } = pages;
        let mut top = first;
        'pages: while top <= tab.rows && !columns.is_empty() {
            let count = (self.payload / row_bytes).clamp(1, 1 << 20) as u32;
            let bottom = tab.rows.min(top.saturating_add(count - 1));
            let areas: Vec<Area<'_>> = columns
                .iter()
                .map(|&columns| Area { tab: &tab.title, columns, rows: (top, bottom) })
                .collect();
            let mut page: Vec<Vec<String>> = Vec::new();
            let (mut done, mut bytes) = (0, 0);
            while done < areas.len() {
                let cells = match sheets::cells(&self.client, &self.id, &areas[done..]).await {
                    Err(GoogleError::TooLarge { .. }) if bottom > top => {
                        row_bytes = self.shorter(bottom - top + 1).max(row_bytes);
                        continue 'pages;
                    }
                    cells => cells?,
                };
                for (area, found) in areas[done..].iter().zip(cells.areas()?) {
                    let left = area.columns.0 as usize - 1;
                    page.resize(page.len().max(found.len()), Vec::new());
                    for (row, cells) in page.iter_mut().zip(found) {
                        row.resize(if cells.is_empty() { row.len() } else { left }, String::new());
                        row.extend(cells.into_iter().map(|cell| cell.0.into_owned()));
                    }
                }
                bytes += cells.bytes();
                done += cells.held();
            }
            let read = page.len();
            let filled = |cells: &Vec<String>| cells.iter().any(|cell| !cell.trim().is_empty());
            let page = (top..).zip(page).filter(|(_, cells)| filled(cells));
            page.for_each(|(number, cells)| take(SheetRow { number, cells }));
            rows_read(read as u64);
            row_bytes = next_guess(bytes / read.max(1) + 1, row_bytes);
            top = bottom.saturating_add(1);
        }
        Ok(())
    }
}

/// What the next rows are taken to be long: rows that were long make the next page shorter at once, and after short ones it
/// grows again only slowly.
fn next_guess(found: usize, guess: usize) -> usize {
    found.max(guess / 2).max(16)
}

/// The stretches of columns, counted from 1, whose header passes `keep`.
fn stretches(header: &[String], keep: impl Fn(&str) -> bool) -> Vec<(u32, u32)> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    for (column, _) in (1..).zip(header).filter(|(_, name)| keep(name)) {
        match found.last_mut() {
            Some((_, right)) if *right + 1 == column => *right = column,
            _ => found.push((column, column)),
        }
    }
    found
}

#[async_trait]
impl Source for Spreadsheet {
    fn name(&self) -> String {
        self.id.clone()
    }

    fn place(&self) -> String {
        // Other names are other sheets of the same file.
        let SheetNames { knowledge_base, embeddings, medical_terms, clients, .. } = &self.names;
        let mut names = format!("{knowledge_base}, {embeddings}, {medical_terms}");
        let usual = SheetNames::default();
        if *clients != usual.clients {
            names = format!("{names}, {clients}");
        }
        match self.names == usual {
            true => self.address(),
            false => format!("{} ({names})", self.address()),
        }
    }

    async fn version(&self) -> Result<String, SourceError> {
        Ok(drive::file(&self.client, &self.id).await?.version)
    }

    async fn read(&self, rows_read: &(dyn Fn(u64) + Sync)) -> Result<Sheets, SourceError> {
        let tabs = self.tabs().await?;
        let headers = self.headers(&tabs).await?;
        let mut read = Vec::with_capacity(tabs.len());
        let narrow = |name: &str| !is_vector_column(name);
        for ((tab, header), row_bytes) in
            tabs.iter().zip(headers).zip([RECORD_BYTES, NARROW_BYTES, NARROW_BYTES, NARROW_BYTES])
        {
            let columns = match tab.title == self.names.embeddings {
                true => stretches(&header, narrow),
                // What stands beyond the header is read, too: nothing is left out without a word.
                false => vec![(1, tab.columns.clamp(1, MOST_COLUMNS))],
            };
            let mut rows = Vec::new();
            let pages = Pages { tab, columns, row_bytes, first: 2 };
            self.rows(pages, &mut |row| rows.push(row), rows_read).await?;
            read.push(Sheet { name: tab.title.clone(), gid: Some(tab.gid), header, rows });
        }
        let mut read = read.into_iter();
        let mut next = || read.next().unwrap_or_default();
        Ok(Sheets { knowledge_base: next(), embeddings: next(), medical_terms: next(), clients: read.next() })
    }

    async fn vectors(
        &self,
        sheets: &Sheets,
        wanted: &[usize],
        take: TakeVector<'_>,
    ) -> Result<(), SourceError> {
        let Sheet { name: tab, header, rows, .. } = &sheets.embeddings;
        let columns = (1, header.len().max(1) as u32);
        let number = |&at: &usize| rows.get(at).map(|row| (row.number, at));
        let mut left: Vec<(u32, usize)> = wanted.iter().filter_map(number).collect();
        left.reverse();
        let mut row_bytes = VECTOR_BYTES;
        while !left.is_empty() {
            // The next rows as stretches, up to the payload.
            let mut areas: Vec<Area<'_>> = Vec::new();
            let mut room = (self.payload / row_bytes).max(1);
            for &(number, _) in left.iter().rev() {
                match areas.last_mut() {
                    _ if room == 0 => break,
                    Some(area) if area.rows.1 + 1 == number => area.rows.1 = number,
                    _ => areas.push(Area { tab, columns, rows: (number, number) }),
                }
                room -= 1;
            }
            let rows: u32 = areas.iter().map(|area| area.rows.1 - area.rows.0 + 1).sum();
            let cells = match sheets::cells(&self.client, &self.id, &areas).await {
                // Rows behind a stretch of short ones were longer than thought.
                Err(GoogleError::TooLarge { .. }) if rows > 1 => {
                    row_bytes = self.shorter(rows).max(row_bytes);
                    continue;
                }
                cells => cells?,
            };
            let mut read = 0;
            for (area, found) in areas.iter().zip(cells.areas()?) {
                let mut found = found.into_iter();
                for _ in area.rows.0..=area.rows.1 {
                    // Rows at the end of the area that are empty by now are not in the answer.
                    let row = found.next().unwrap_or_default();
                    let Some((_, at)) = left.pop() else { break };
                    let cells: Vec<&str> = row.iter().map(|cell| cell.0.as_ref()).collect();
                    read += 1;
                    if take(at, &cells) == ControlFlow::Break(()) {
                        return Ok(());
                    }
                }
            }
            row_bytes = next_guess(cells.bytes() / read.max(1) + 1, row_bytes).max(SHORTEST_VECTOR);
        }
        Ok(())
    }

    async fn everything(&self, take: TakeRow<'_>) -> Result<(), SourceError> {
        for tab in sheets::tabs(&self.client, &self.id).await? {
            let columns = vec![(1, tab.columns.max(1))];
            let pages = Pages { tab: &tab, columns, row_bytes: VECTOR_BYTES, first: 1 };
            self.rows(pages, &mut |row| take(&tab.title, row), &|_| {}).await?;
        }
        Ok(())
    }

    async fn append_vectors(
        &self,
        sheets: &Sheets,
        vectors: &[(String, Vec<f32>)],
        model: &str,
        moment: &str,
    ) -> Result<u64, SourceError> {
        let sheet = &sheets.embeddings;
        let first = ["embedding_part1", "embedding"].iter().find_map(|name| sheet.column(name));
        let row = |(id, vector): &(String, Vec<f32>)| {
            let mut row = vec![String::new(); sheet.header.len()];
            let mut put = |column: Option<usize>, text: String| {
                if let Some(cell) = column.and_then(|column| row.get_mut(column)) {
                    *cell = text;
                }
            };
            put(sheet.column("kb_id"), id.clone());
            put(sheet.column("model"), model.to_owned());
            put(sheet.column("dimension"), vector.len().to_string());
            put(first, Packing::default().pack(vector));
            put(sheet.column("created_at").or_else(|| sheet.column("generated_at")), moment.to_owned());
            row
        };
        let mut written = 0;
        let mut batch: Vec<Vec<String>> = Vec::new();
        let mut bytes = 0;
        for (number, vector) in vectors.iter().enumerate() {
            let row = row(vector);
            bytes += row.iter().map(|cell| cell.len() + 3).sum::<usize>();
            batch.push(row);
            if bytes >= self.payload || number + 1 == vectors.len() {
                sheets::append(&self.client, &self.id, &sheet.name, &batch).await?;
                written += batch.len() as u64;
                (bytes, batch) = (0, Vec::new());
            }
        }
        Ok(written)
    }

    fn leaves_vectors_out(&self) -> bool {
        true
    }

    fn usage(&self) -> Usage {
        self.client.usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_stand_together_are_read_together() {
        let header = ["kb_id", "model", "embedding_part1", "embedding_part2", "created_at"].map(String::from);
        assert_eq!(stretches(&header, |name| !is_vector_column(name)), [(1, 2), (5, 5)]);
        assert_eq!(stretches(&header, |_| true), [(1, 5)]);
        assert!(stretches(&[], |_| true).is_empty());
    }
}
