//! Where rows come from: sheets with header names, whatever holds them.

use std::ops::ControlFlow;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::google::{GoogleError, Usage};

/// Names of the sheets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetNames {
    /// The records.
    pub knowledge_base: String,
    /// Their vectors.
    pub embeddings: String,
    /// Medical terms with synonyms.
    pub medical_terms: String,
    /// What clients are called; read where it is there.
    pub clients: String,
    /// Conversations; known, but not read by a sync.
    pub chat_history: String,
}

impl Default for SheetNames {
    fn default() -> Self {
        Self {
            knowledge_base: "KnowledgeBase".into(),
            embeddings: "Embeddings".into(),
            medical_terms: "MedicalTerms".into(),
            clients: "Clients".into(),
            chat_history: "ChatHistory".into(),
        }
    }
}

/// One sheet: a header and the rows below it, every cell as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    /// Name of the sheet.
    pub name: String,
    /// Its number in links, `#gid=`, where the source has links.
    pub gid: Option<i64>,
    /// Cells of row 1.
    pub header: Vec<String>,
    /// Rows that hold anything at all.
    pub rows: Vec<SheetRow>,
}

/// One row of a sheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetRow {
    /// Row number as a person sees it: the header is row 1.
    pub number: u32,
    /// Cells in the order of the columns; may be shorter than the header.
    pub cells: Vec<String>,
}

impl Sheet {
    /// Position of the column with this header, compared without case and outer white space.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|cell| cell.trim().eq_ignore_ascii_case(name))
    }
}

/// What a sync reads of a source.
#[derive(Clone, Debug, Default)]
pub struct Sheets {
    /// The records.
    pub knowledge_base: Sheet,
    /// Their vectors.
    pub embeddings: Sheet,
    /// Medical terms.
    pub medical_terms: Sheet,
    /// What clients are called, where the source says it.
    pub clients: Option<Sheet>,
}

impl Sheets {
    /// BLAKE3 over every cell, with the places of rows.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let needed = [&self.knowledge_base, &self.embeddings, &self.medical_terms];
        for sheet in needed.into_iter().chain(&self.clients) {
            let rows = sheet.rows.iter().map(|row| (row.number, &row.cells));
            for (number, cells) in std::iter::once((1, &sheet.header)).chain(rows) {
                hasher.update(&number.to_le_bytes()).update(&(cells.len() as u64).to_le_bytes());
                for cell in cells {
                    hasher.update(&(cell.len() as u64).to_le_bytes()).update(cell.as_bytes());
                }
            }
        }
        hasher.finalize()
    }
}

/// Is given the cells of one row of the Embeddings sheet, by its position in [`Sheet::rows`], and says whether to go on.
pub type TakeVector<'a> = &'a mut (dyn FnMut(usize, &[&str]) -> ControlFlow<()> + Send);

/// Is given the name of a tab and one row of it.
pub type TakeRow<'a> = &'a mut (dyn FnMut(&str, SheetRow) + Send);

/// Something that holds the sheets.
#[async_trait]
pub trait Source: Send + Sync {
    /// Name for people and for citations: a file's name, or a spreadsheet's id.
    fn name(&self) -> String;

    /// Where exactly it is: a full path, an address. Two sources may share a name.
    fn place(&self) -> String;

    /// Changes whenever the content does. Two equal versions need no second sync. Holds no space.
    ///
    /// # Errors
    /// A source that cannot be reached.
    async fn version(&self) -> Result<String, SourceError>;

    /// Reads the sheets; a source for which that is dear leaves the vector cells of the Embeddings sheet empty.
    /// `rows_read` is told, now and then, how many rows were read since the last time.
    ///
    /// # Errors
    /// A source that cannot be reached, or lacks a sheet.
    async fn read(&self, rows_read: &(dyn Fn(u64) + Sync)) -> Result<Sheets, SourceError>;

    /// Reads all cells of the rows `wanted`, ascending positions in the Embeddings sheet of `sheets`, and gives them to
    /// `take`. A row that is gone by now is not given.
    ///
    /// # Errors
    /// A source that cannot be reached.
    async fn vectors(
        &self,
        sheets: &Sheets,
        wanted: &[usize],
        take: TakeVector<'_>,
    ) -> Result<(), SourceError>;

    /// Every row of every tab or sheet, whatever it is called, headers and vectors among them, in order.
    ///
    /// # Errors
    /// A source that cannot be reached.
    async fn everything(&self, take: TakeRow<'_>) -> Result<(), SourceError>;

    /// Appends vectors to the Embeddings sheet, each with the id of its record: one packed cell a vector, made at
    /// `moment`. Returns how many were written.
    ///
    /// # Errors
    /// A source that nobody can write to.
    async fn append_vectors(
        &self,
        _sheets: &Sheets,
        _vectors: &[(String, Vec<f32>)],
        _model: &str,
        _moment: &str,
    ) -> Result<u64, SourceError> {
        Err(SourceError::ReadOnly { name: self.name() })
    }

    /// Whether [`Source::read`] leaves vector cells out, so that a change of theirs alone is only seen by reading all.
    fn leaves_vectors_out(&self) -> bool {
        false
    }

    /// What was asked of a metered service so far.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// A source cannot be read. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file system refused.
    #[error("cannot read {}: {source}. Check KARUTE_WORKBOOK", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is none that karute reads.
    #[error(
        "{name} cannot be read as a workbook: {detail}. Give an .xlsx file or a folder of UTF-8 .csv files"
    )]
    Unreadable {
        /// The file.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// The file is larger than karute takes.
    #[error("{name} holds {bytes} bytes, more than the {limit} that karute reads: split the workbook")]
    TooLarge {
        /// The file.
        name: String,
        /// Its size.
        bytes: u64,
        /// Most bytes.
        limit: u64,
    },
    /// Google, or the way there.
    #[error(transparent)]
    Google(#[from] GoogleError),
    /// Vectors that wait on the disk cannot be read.
    #[error("vectors that wait in the data directory cannot be read: {source}")]
    Spool {
        /// The system's answer.
        source: std::io::Error,
    },
    /// Vectors cannot be written back.
    #[error("{name} is only read: vectors are written back to a Google spreadsheet alone")]
    ReadOnly {
        /// The source.
        name: String,
    },
    /// Somebody edits faster than the source can be read.
    #[error(
        "{name} changed while it was read, {rounds} times in a row: sync again when fewer people write; the snapshot \
         before is still served"
    )]
    Moving {
        /// The source.
        name: String,
        /// How often it was read.
        rounds: u32,
    },
    /// A sheet is not there.
    #[error("{name} has no sheet {sheet:?} (it has {found}): add it, or name yours in VECTOR_DB_SHEETS")]
    MissingSheet {
        /// The workbook.
        name: String,
        /// The sheet that is needed.
        sheet: String,
        /// The sheets that are there.
        found: String,
    },
    /// A column is not there.
    #[error("sheet {sheet:?} of {name} has no column {column:?}: add it to row 1, the header row")]
    MissingColumn {
        /// The workbook.
        name: String,
        /// The sheet.
        sheet: String,
        /// The column that is needed.
        column: String,
    },
    /// There is nothing to search.
    #[error("sheet {sheet:?} of {name} has no rows below its header: fill it, then sync again")]
    Empty {
        /// The workbook.
        name: String,
        /// The sheet.
        sheet: String,
    },
}
