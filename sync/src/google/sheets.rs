//! Sheets v4: the tabs of a spreadsheet, and cells by ranges.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use serde_json::{Value, json};

use super::client::{Call, Client, Effect};
use super::drive::built;
use super::error::{GoogleError, place};

const GOOGLE: &str = "https://sheets.googleapis.com";
const SERVICE: &str = "Google Sheets";
const API: &str = "sheets.googleapis.com";

/// Longest address that is asked for. Many ranges make long ones, and proxies cut at 8 kB.
const LONGEST_ADDRESS: usize = 6_000;

/// A tab of a spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    /// Its name.
    pub title: String,
    /// Its number in links, `#gid=`.
    pub gid: i64,
    /// Rows of its grid, filled or not.
    pub rows: u32,
    /// Columns of its grid.
    pub columns: u32,
}

#[derive(Deserialize)]
struct Spreadsheet {
    #[serde(default)]
    sheets: Vec<SheetOf>,
}

#[derive(Deserialize)]
struct SheetOf {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    #[serde(default)]
    sheet_id: i64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    grid_properties: Grid,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Grid {
    row_count: u32,
    column_count: u32,
}

/// The tabs of spreadsheet `id`.
///
/// # Errors
/// As [`Client::call`].
pub async fn tabs(client: &Client, id: &str) -> Result<Vec<Tab>, GoogleError> {
    let mut url = address(client, &[id])?;
    url.query_pairs_mut().append_pair("fields", "sheets.properties(sheetId,title,gridProperties)");
    let what = format!("the tabs of spreadsheet {id}");
    let body = client.call(&read(url, what.clone())).await?;
    let found: Spreadsheet =
        serde_json::from_slice(&body).map_err(|error| malformed(what, &place(&error)))?;
    let tab = |SheetOf { properties }: SheetOf| Tab {
        title: properties.title,
        gid: properties.sheet_id,
        rows: properties.grid_properties.row_count,
        columns: properties.grid_properties.column_count,
    };
    Ok(found.sheets.into_iter().map(tab).collect())
}

/// A rectangle of cells of one tab. Rows and columns count from 1, both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area<'a> {
    /// Name of the tab.
    pub tab: &'a str,
    /// First and last column.
    pub columns: (u32, u32),
    /// First and last row.
    pub rows: (u32, u32),
}

impl fmt::Display for Area<'_> {
    /// In A1 notation: `'tab'!A2:G90`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tab, columns: (left, right), rows: (top, bottom) } = self;
        write!(f, "'{}'!{}{top}:{}{bottom}", tab.replace('\'', "''"), letters(*left), letters(*right))
    }
}

/// A column's letters: 1 is A, 27 is AA.
fn letters(mut column: u32) -> String {
    let mut letters = Vec::new();
    while column > 0 {
        column -= 1;
        letters.push(char::from(b'A' + (column % 26) as u8));
        column /= 26;
    }
    letters.into_iter().rev().collect()
}

/// An answer of `values:batchGet`, still packed.
#[derive(Debug)]
pub struct Cells {
    body: Bytes,
    what: String,
    areas: usize,
}

impl Cells {
    /// An answer that should hold so many areas, from wherever it came.
    pub fn new(body: Bytes, areas: usize) -> Self {
        Self { body, what: "an answer".into(), areas }
    }

    /// Length of the answer in bytes.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// How many areas it holds.
    pub fn held(&self) -> usize {
        self.areas
    }

    /// The cells of each area in the order in which they were asked for: rows without their empty ends.
    ///
    /// # Errors
    /// A body that is not what the API's documents say.
    pub fn areas(&self) -> Result<Vec<Vec<Vec<Cell<'_>>>>, GoogleError> {
        let malformed = |detail: &dyn fmt::Display| malformed(self.what.clone(), detail);
        let found: Values<'_> =
            serde_json::from_slice(&self.body).map_err(|error| malformed(&place(&error)))?;
        if found.value_ranges.len() != self.areas {
            let detail = format!("{} ranges in it, {} were asked for", found.value_ranges.len(), self.areas);
            return Err(malformed(&detail));
        }
        Ok(found.value_ranges.into_iter().map(|range| range.values).collect())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Values<'a> {
    #[serde(borrow, default)]
    value_ranges: Vec<ValueRange<'a>>,
}

#[derive(Deserialize)]
struct ValueRange<'a> {
    /// Absent where every cell of the range is empty.
    #[serde(borrow, default)]
    values: Vec<Vec<Cell<'a>>>,
}

/// A cell as text. Long cells are borrowed from the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Cell<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Owned(text.to_owned())))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Owned(number.to_string())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Owned(number.to_string())))
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Borrowed(if truth { "TRUE" } else { "FALSE" })))
            }
            fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
                Ok(Cell(Cow::Borrowed("")))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// The address of a `values:batchGet` for `areas`, and how many of them it holds: as many as fit.
fn batch_address(client: &Client, id: &str, areas: &[Area<'_>]) -> Result<(Url, usize), GoogleError> {
    let mut url = address(client, &[id, "values:batchGet"])?;
    url.query_pairs_mut()
        .append_pair("majorDimension", "ROWS")
        // Numbers as they are, whatever format the sheet shows them in; dates as the sheet shows them.
        .append_pair("valueRenderOption", "UNFORMATTED_VALUE")
        .append_pair("dateTimeRenderOption", "FORMATTED_STRING");
    let mut held = 0;
    for area in areas {
        let mut longer = url.clone();
        longer.query_pairs_mut().append_pair("ranges", &area.to_string());
        if held > 0 && longer.as_str().len() > LONGEST_ADDRESS {
            break;
        }
        (url, held) = (longer, held + 1);
    }
    Ok((url, held))
}

/// Reads as many of `areas` as fit into one request; [`Cells::held`] says how many. `areas` must not be empty.
///
/// # Errors
/// As [`Client::call`].
pub async fn cells(client: &Client, id: &str, areas: &[Area<'_>]) -> Result<Cells, GoogleError> {
    let (url, held) = batch_address(client, id, areas)?;
    let what = format!("cells of {:?} in spreadsheet {id}", areas.first().map_or("", |area| area.tab));
    let body = client.call(&read(url, what.clone())).await?;
    Ok(Cells { body, what, areas: held })
}

/// Appends rows of texts to the table that begins with the header of `tab`, as they are: nothing is taken for a formula or a
/// date. Google looks for a table in the range and writes from its first column on: the range is the corner, so that a stray
/// note elsewhere is not taken for one.
///
/// # Errors
/// As [`Client::call`]; after an unclear answer the rows may be there all the same.
pub async fn append(client: &Client, id: &str, tab: &str, rows: &[Vec<String>]) -> Result<(), GoogleError> {
    let range = format!("'{}'!A1", tab.replace('\'', "''"));
    let mut url = address(client, &[id, "values", &format!("{range}:append")])?;
    url.query_pairs_mut()
        .append_pair("valueInputOption", "RAW")
        .append_pair("insertDataOption", "INSERT_ROWS");
    let body = json!({"majorDimension": "ROWS", "values": rows});
    write(client, url, format!("rows for {tab:?} of spreadsheet {id}"), &body).await
}

/// Carries out `requests` on a spreadsheet, all or none.
///
/// # Errors
/// As [`append`].
pub async fn change(client: &Client, id: &str, requests: &[Value]) -> Result<(), GoogleError> {
    let url = address(client, &[&format!("{id}:batchUpdate")])?;
    write(client, url, format!("tabs for spreadsheet {id}"), &json!({"requests": requests})).await
}

async fn write(client: &Client, url: Url, what: String, body: &Value) -> Result<(), GoogleError> {
    let body = Some(body);
    let call =
        Call { service: SERVICE, api: API, what, method: Method::POST, url, body, effect: Effect::Write };
    client.call(&call).await.map(drop)
}

fn read(url: Url, what: String) -> Call<'static> {
    Call { service: SERVICE, api: API, what, method: Method::GET, url, body: None, effect: Effect::Read }
}

fn address(client: &Client, parts: &[&str]) -> Result<Url, GoogleError> {
    built(&client.host().of(GOOGLE), &[&["v4", "spreadsheets"], parts].concat())
}

fn malformed(what: String, error: &dyn fmt::Display) -> GoogleError {
    GoogleError::Malformed { service: SERVICE, what, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_the_letters_that_sheets_show() {
        for (column, expected) in [(1, "A"), (26, "Z"), (27, "AA"), (52, "AZ"), (702, "ZZ"), (703, "AAA")] {
            assert_eq!(letters(column), expected);
        }
        let area = Area { tab: "私の'表", columns: (1, 7), rows: (2, 90) };
        assert_eq!(area.to_string(), "'私の''表'!A2:G90");
    }

    #[test]
    fn cells_of_every_type_become_text_and_absent_ones_are_empty() {
        let body = Bytes::from_static(
            br#"{"spreadsheetId":"x","valueRanges":[{"range":"A","values":[["a\"b",3072,0.5,true],[],["",null,-1]]},{"range":"B"}]}"#,
        );
        let cells = Cells { body, what: "x".into(), areas: 2 };
        let areas = cells.areas().expect("readable");
        let texts = |row: usize| areas[0][row].iter().map(|cell| cell.0.as_ref()).collect::<Vec<_>>();
        assert_eq!(texts(0), ["a\"b", "3072", "0.5", "TRUE"]);
        assert!(texts(1).is_empty() && areas[1].is_empty());
        assert_eq!(texts(2), ["", "", "-1"]);
        let other = Cells { body: Bytes::from_static(b"{}"), what: "x".into(), areas: 1 };
        assert!(matches!(other.areas(), Err(GoogleError::Malformed { .. })));
    }
}
