//! A snapshot as plain files that any tool can read, and back without loss.
//!
//! ```text
//! <folder>/manifest.json   id, identity, counts, provenance
//! <folder>/rows.jsonl      one row a line, with the byte ranges of its passages
//! <folder>/vectors.npy     one vector a passage, float32, in the order of rows.jsonl
//! <folder>/terms.json      medical terms
//! <folder>/clients.json    what clients are called, if the snapshot says it
//! <folder>/report.json     the data-quality report, byte for byte
//! ```
//!
//! The vectors are in NumPy's format 1.0 ("NEP 1: A simple file format for NumPy arrays").

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use karute_engine::{
    BuildError, ClientName, Draft, Identity, Index, LexicalSettings, OpenError, Passage, Precision,
    Provenance, Row, Sealed, Term,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const MANIFEST: &str = "manifest.json";
const ROWS: &str = "rows.jsonl";
const VECTORS: &str = "vectors.npy";
const TERMS: &str = "terms.json";
const CLIENTS: &str = "clients.json";
const REPORT: &str = "report.json";

/// Most bytes of one line or of one small file, so that a wrong folder cannot fill the memory.
const TEXT_LIMIT: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    id: String,
    identity: Identity,
    /// Exports of earlier versions do not say, and have 32 bits.
    #[serde(default)]
    precision: Precision,
    /// Nor of words, which had the default then.
    #[serde(default)]
    lexical: LexicalSettings,
    rows: u32,
    passages: u32,
    provenance: Provenance,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    row: Row,
    passages: Vec<Range<usize>>,
}

/// An export or an import did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The snapshot is damaged.
    #[error(transparent)]
    Snapshot(#[from] OpenError),
    /// A file of an export is not what an export writes.
    #[error("{} is no part of an export: {detail}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// A row or a vector cannot become part of a snapshot.
    #[error(transparent)]
    Build(#[from] BuildError),
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TransferError {
    let path = path.to_owned();
    move |source| TransferError::Io { action, path, source }
}

fn malformed(path: &Path, detail: impl ToString) -> TransferError {
    TransferError::Malformed { path: path.to_owned(), detail: detail.to_string() }
}

/// Writes `index`, once all of it is verified, to `folder`, which must not exist yet and which only its owner may look into. A
/// folder without a manifest is not complete.
///
/// # Errors
/// A folder that is there, a refusal of the file system, a damaged snapshot.
pub fn export(index: &Index, folder: &Path) -> Result<(), TransferError> {
    index.verify()?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(failed("create", folder))?;
    let rows = folder.join(ROWS);
    let mut lines = BufWriter::new(File::create(&rows).map_err(failed("create", &rows))?);
    let path = folder.join(VECTORS);
    let mut vectors = BufWriter::new(File::create(&path).map_err(failed("create", &path))?);
    let shape = (index.passages(), index.identity().dimensions);
    vectors.write_all(&npy_header(shape)).map_err(failed("write", &path))?;
    for number in 0..index.len() {
        let passages = index.passages_of(number)?;
        let line = Line { row: index.row(number)?, passages: passages.iter().map(Passage::range).collect() };
        serde_json::to_writer(&mut lines, &line)
            .map_err(io::Error::from)
            .and_then(|()| lines.write_all(b"\n"))
            .map_err(failed("write", &rows))?;
        for value in passages.iter().flat_map(Passage::vector) {
            vectors.write_all(&value.to_le_bytes()).map_err(failed("write", &path))?;
        }
    }
    lines.flush().map_err(failed("write", &rows))?;
    vectors.flush().map_err(failed("write", &path))?;
    write(&folder.join(REPORT), index.report()?.as_bytes())?;
    write_json(&folder.join(TERMS), &index.terms())?;
    if !index.clients().is_empty() {
        write_json(&folder.join(CLIENTS), &index.clients())?;
    }
    let manifest = Manifest {
        id: index.id().to_string(),
        identity: index.identity().clone(),
        precision: index.precision(),
        lexical: index.lexical_settings()?.unwrap_or_default(),
        rows: index.len(),
        passages: index.passages(),
        provenance: index.provenance().clone(),
    };
    write_json(&folder.join(MANIFEST), &manifest)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TransferError> {
    fs::write(path, bytes).map_err(failed("write", path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TransferError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| malformed(path, error))?;
    write(path, &text)
}

/// A snapshot from an export.
#[derive(Debug)]
pub struct Imported {
    /// The snapshot.
    pub sealed: Sealed,
    /// The id of the snapshot that was exported, where it is another one: another engine built it, or with other settings of the
    /// graph, or the files were changed since.
    pub differs_from: Option<String>,
}

/// Reads an export back into a sealed snapshot. With the engine and the settings that built the exported one it has the same
/// id. `adjust` may change the provenance.
///
/// # Errors
/// A missing or malformed file, a row or a vector that no snapshot holds.
pub fn import(folder: &Path, adjust: impl FnOnce(&mut Provenance)) -> Result<Imported, TransferError> {
    let manifest: Manifest = read_json(&folder.join(MANIFEST))?;
    let mut draft = Draft::new(manifest.identity.clone());
    let terms: Vec<Term> = read_json(&folder.join(TERMS))?;
    draft.set_precision(manifest.precision)?;
    draft.set_lexical(manifest.lexical);
    draft.set_terms(terms);
    let clients = folder.join(CLIENTS);
    if clients.exists() {
        draft.set_clients(read_json::<Vec<ClientName>>(&clients)?);
    }
    draft.set_report(read_text(&folder.join(REPORT))?);

    let path = folder.join(VECTORS);
    let mut vectors = BufReader::new(File::open(&path).map_err(failed("read", &path))?);
    let header = npy_header((manifest.passages, manifest.identity.dimensions));
    let mut found = vec![0u8; header.len()];
    vectors.read_exact(&mut found).map_err(failed("read", &path))?;
    if found != header {
        let (passages, dimensions) = (manifest.passages, manifest.identity.dimensions);
        return Err(malformed(
            &path,
            format!("its header is not that of a {passages} x {dimensions} float32 array"),
        ));
    }
    let mut vector =
        || read_vector(&mut vectors, manifest.identity.dimensions).map_err(failed("read", &path));

    let rows = folder.join(ROWS);
    let mut lines = BufReader::new(File::open(&rows).map_err(failed("read", &rows))?);
    let (mut text, mut number) = (String::new(), 0u64);
    loop {
        text.clear();
        let read = (&mut lines).take(TEXT_LIMIT).read_line(&mut text).map_err(failed("read", &rows))?;
        if read == 0 {
            break;
        }
        number += 1;
        let line: Line = serde_json::from_str(&text)
            .map_err(|error| malformed(&rows, format!("line {number}: {error}")))?;
        let made = line.passages.iter().map(|_| vector()).collect::<Result<Vec<_>, _>>()?;
        let passages: Vec<Passage<'_>> = line
            .passages
            .iter()
            .zip(&made)
            .map(|(range, vector)| Passage::part(range.clone(), vector.as_slice()))
            .collect();
        draft.push(&line.row, &passages)?;
    }
    if draft.len() as u64 != u64::from(manifest.rows) {
        return Err(malformed(
            &rows,
            format!("it has {} rows, the manifest says {}", draft.len(), manifest.rows),
        ));
    }
    if vectors.fill_buf().is_ok_and(|rest| !rest.is_empty()) {
        return Err(malformed(&path, "it has more vectors than the rows have passages"));
    }
    let mut provenance = manifest.provenance;
    adjust(&mut provenance);
    let sealed = draft.finish(provenance)?;
    let differs_from = Some(manifest.id).filter(|id| *id != sealed.id().to_string());
    Ok(Imported { sealed, differs_from })
}

fn read_text(path: &Path) -> Result<String, TransferError> {
    let mut text = String::new();
    let file = File::open(path).map_err(failed("read", path))?;
    let read = file.take(TEXT_LIMIT).read_to_string(&mut text).map_err(failed("read", path))?;
    if read as u64 == TEXT_LIMIT {
        return Err(malformed(path, format!("it is longer than {TEXT_LIMIT} bytes")));
    }
    Ok(text)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, TransferError> {
    serde_json::from_str(&read_text(path)?).map_err(|error| malformed(path, error))
}

fn read_vector(from: &mut impl Read, dimensions: u32) -> io::Result<Vec<f32>> {
    // Read in step with what is there, so that a manifest that lies about the size cannot fill the memory.
    (0..dimensions)
        .map(|_| {
            let mut bytes = [0u8; 4];
            from.read_exact(&mut bytes)?;
            Ok(f32::from_le_bytes(bytes))
        })
        .collect()
}

/// The header of a C-ordered little-endian float32 array, padded so that the numbers begin at a multiple of 64.
fn npy_header((rows, columns): (u32, u32)) -> Vec<u8> {
    const FRONT: usize = 10;
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    let length = (FRONT + text.len() + 1).next_multiple_of(64) - FRONT;
    text.push_str(&" ".repeat(length - text.len() - 1));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend_from_slice(&(length as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::npy_header;

    #[test]
    fn a_header_is_what_numpy_writes() {
        // np.save of np.zeros((3, 2), '<f4'): 128 bytes of header.
        let header = npy_header((3, 2));
        assert_eq!(header.len(), 128);
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(header[10..].starts_with(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  "));
        assert_eq!(header[127], b'\n');
    }
}
