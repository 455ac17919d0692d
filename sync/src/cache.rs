//! Vectors that were paid for, kept by what they were made from, so that none is paid for twice.
//!
//! One file a vector, named by BLAKE3 of identity, task and text; written under another name and renamed, so that a
//! crash leaves a whole file or none. No text is kept.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use karute_engine::{Embedding, Identity};

use crate::embed::{EmbedError, Embedder, Task};
use crate::google::Usage;

/// An embedder that asks another one only for what is not in its directory. Questions pass through: they are as good as
/// never the same, and their digests would be a record of who asked what.
pub struct Cached<'a> {
    inner: &'a dyn Embedder,
    directory: PathBuf,
}

impl<'a> Cached<'a> {
    /// Keeps the vectors of `inner` in `directory`, which is made when it is first needed.
    pub fn new(inner: &'a dyn Embedder, directory: &Path) -> Self {
        Self { inner, directory: directory.to_owned() }
    }

    fn path(&self, text: &str) -> PathBuf {
        let mut hasher = blake3::Hasher::new_derive_key("karute embedding cache, document");
        for part in [self.inner.identity().to_string().as_str(), text] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let name = hasher.finalize().to_hex().to_string();
        self.directory.join(&name[..2]).join(&name[2..])
    }

    /// A vector, if it is here, whole, and one: what a crash left of a file is none.
    fn find(&self, text: &str) -> Option<Embedding> {
        let bytes = fs::read(self.path(text)).ok()?;
        let (numbers, rest) = bytes.as_chunks();
        let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let identity = self.inner.identity();
        let whole = rest.is_empty()
            && numbers.len() == identity.dimensions as usize
            && numbers.iter().all(|number| number.is_finite())
            && numbers.iter().any(|number| *number != 0.0);
        whole.then(|| Embedding::new(identity.clone(), numbers))
    }

    fn keep(&self, text: &str, embedding: &Embedding) -> io::Result<()> {
        let path = self.path(text);
        let directory = path.parent().unwrap_or(&self.directory);
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        let bytes: Vec<u8> = embedding.vector().iter().flat_map(|number| number.to_le_bytes()).collect();
        file.write_all(&bytes)?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    }
}

#[async_trait]
impl Embedder for Cached<'_> {
    fn identity(&self) -> &Identity {
        self.inner.identity()
    }

    fn is_free(&self) -> bool {
        self.inner.is_free()
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }

    fn passage_characters(&self) -> usize {
        self.inner.passage_characters()
    }

    fn usd(&self, texts: u64, bytes: u64) -> f64 {
        self.inner.usd(texts, bytes)
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn holds(&self, text: &str) -> bool {
        self.is_free() || self.find(text).is_some()
    }

    async fn embed(&self, texts: &[String], task: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        if task == Task::Query || self.is_free() {
            return self.inner.embed(texts, task).await;
        }
        let mut found: Vec<Option<Embedding>> = texts.iter().map(|text| self.find(text)).collect();
        let missing: Vec<usize> = (0..texts.len()).filter(|&at| found[at].is_none()).collect();
        let asked: Vec<String> = missing.iter().map(|&at| texts[at].clone()).collect();
        if !asked.is_empty() {
            let made = self.inner.embed(&asked, task).await?;
            for (&at, embedding) in missing.iter().zip(made) {
                if let Some(embedding) = &embedding {
                    self.keep(&texts[at], embedding).map_err(EmbedError::Cache)?;
                }
                found[at] = embedding;
            }
        }
        Ok(found)
    }
}
