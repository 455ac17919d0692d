//! The sample workbook: a fictional home-nursing station, its records written by hand, filled up with routine notes
//! from templates by a seeded generator, and a few of each fault that real workbooks have.
//!
//! Everything follows from the files in `tests/sample` and [`SEED`]: two runs write the same bytes.

mod faults;
mod records;
mod templates;
mod write;

use std::path::PathBuf;

use karute_engine::Row;
use karute_sync::embed::document_text;
use karute_sync::layout::{CHAT_HISTORY, EMBEDDINGS, KNOWLEDGE_BASE, MEDICAL_TERMS};
use karute_sync::lexical::{DIMENSIONS, Lexical, MODEL};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::de::DeserializeOwned;

pub use write::{csv_bytes, write_csv, write_xlsx};

/// Seed of everything that is drawn.
pub const SEED: u64 = 20_261_031;

/// Rows of the KnowledgeBase sheet.
pub const ROWS: usize = 1_200;

/// How many rows of each kind there are, in the proportions of a workbook that was in use.
pub const KINDS: [(&str, &str, usize); 11] = [
    ("call_summary", "calls", 472),
    ("thread", "calls", 429),
    ("care_record", "nursing", 120),
    ("call_qa", "calls", 49),
    ("plan_evaluation", "nursing", 37),
    ("client_qa", "clients", 19),
    ("report", "nursing", 19),
    ("client_info", "clients", 15),
    ("family_info", "clients", 15),
    ("care_plan", "nursing", 13),
    ("facesheet", "clients", 12),
];

/// The clients: id, name, kana.
pub const CLIENTS: [(&str, &str, &str); 15] = [
    ("CL-00001", "青木 澄江", "アオキ スミエ"),
    ("CL-00002", "石渡 源一", "イシワタ ゲンイチ"),
    ("CL-00003", "上原 千鶴", "ウエハラ チヅル"),
    ("CL-00004", "江口 照男", "エグチ テルオ"),
    ("CL-00005", "奥寺 文子", "オクデラ フミコ"),
    ("CL-00006", "柏木 弘", "カシワギ ヒロシ"),
    ("CL-00007", "木暮 トシ", "コグレ トシ"),
    ("CL-00008", "久保田 実", "クボタ ミノル"),
    ("CL-00009", "小菅 美代", "コスゲ ミヨ"),
    ("CL-00010", "佐伯 勇", "サエキ イサム"),
    ("CL-00011", "清水野 綾", "シミズノ アヤ"),
    ("CL-00012", "須田 忠", "スダ タダシ"),
    ("CL-00013", "瀬川 和恵", "セガワ カズエ"),
    ("CL-00014", "園田 勝", "ソノダ マサル"),
    ("CL-00015", "高見沢 春", "タカミザワ ハル"),
];

/// A sheet of the workbook, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// Name of the sheet.
    pub name: &'static str,
    /// Header and data rows alike are cells of text.
    pub header: &'static [&'static str],
    /// Rows below the header.
    pub rows: Vec<Vec<String>>,
    /// Colour of the header row, as the spreadsheets in use have it.
    pub colour: u32,
}

/// One record in ten brings its vector.
const VECTOR_EVERY: usize = 10;

/// Where the hand-written parts lie.
fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("sample")
}

fn read_lines<T: DeserializeOwned>(name: &str) -> std::io::Result<Vec<T>> {
    let text = std::fs::read_to_string(directory().join(name))?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|error| std::io::Error::other(format!("{name}, line {}: {error}", number + 1)))
    };
    text.lines().enumerate().map(parse).collect()
}

/// Makes the four sheets.
///
/// # Errors
/// A hand-written file that is missing or malformed.
pub fn workbook() -> std::io::Result<Vec<Sheet>> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut rows = records::all(&mut random)?;
    let mut vectors: Vec<Vec<String>> =
        rows.iter().skip(3).step_by(VECTOR_EVERY).map(|row| vector_cells(row)).collect();
    let mut terms = records::terms()?;
    faults::plant(&mut rows, &mut vectors, &mut terms);
    Ok(vec![
        Sheet { name: "KnowledgeBase", header: KNOWLEDGE_BASE, rows, colour: 0x0042_85F4 },
        Sheet { name: "Embeddings", header: EMBEDDINGS, rows: vectors, colour: 0x0034_A853 },
        Sheet { name: "MedicalTerms", header: MEDICAL_TERMS, rows: terms, colour: 0x00FB_BC04 },
        Sheet { name: "ChatHistory", header: CHAT_HISTORY, rows: records::chat(), colour: 0x00EA_4335 },
    ])
}

/// The row of the Embeddings sheet for a record: its true vector in three part cells, as the old writers laid it out.
fn vector_cells(record: &[String]) -> Vec<String> {
    let row = Row { title: record[6].clone(), content: record[7].clone(), ..Row::default() };
    let vector = Lexical::default().vector(&document_text(&row)).unwrap_or_default();
    let mut cells = vec![record[0].clone(), MODEL.to_owned(), DIMENSIONS.to_string()];
    cells.extend(vector.chunks(vector.len().div_ceil(3).max(1)).map(part_cell));
    cells.push(record[13].clone());
    cells
}

fn part_cell(numbers: &[f32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(f32::to_string).collect();
    format!("[{}]", numbers.join(", "))
}
