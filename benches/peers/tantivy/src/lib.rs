//! Tantivy over the very tokens of karute's keyword search: scores and speed are compared, not tokenizers.

use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{TextAnalyzer, WhitespaceTokenizer};
use tantivy::{Index, IndexReader, TantivyDocument, TantivyError, Term};

/// Okapi's k1 and b, which tantivy has as constants.
pub const K1: f32 = 1.2;
/// As [`K1`].
pub const B: f32 = 0.75;
/// Tantivy keeps the length of a text in a byte: up to so many tokens it is exact.
pub const EXACT_LENGTH: usize = 40;

/// An index of texts that are given as tokens.
pub struct Tantivy {
    reader: IndexReader,
    tokens: Field,
}

impl Tantivy {
    /// An index of `texts` in memory, in one segment.
    pub fn of(texts: &[Vec<u64>]) -> Result<Self, TantivyError> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("given")
            .set_index_option(IndexRecordOption::WithFreqs);
        let tokens = schema.add_text_field("tokens", TextOptions::default().set_indexing_options(indexing));
        let number = schema.add_u64_field("number", FAST);
        let index = Index::create_in_ram(schema.build());
        index.tokenizers().register("given", TextAnalyzer::builder(WhitespaceTokenizer::default()).build());
        // One thread, so that the texts are in one segment and counted together.
        let mut writer = index.writer_with_num_threads(1, 500_000_000)?;
        for (at, text) in (0u64..).zip(texts) {
            let mut document = TantivyDocument::default();
            document.add_text(tokens, text.iter().map(|token| format!("{token:x} ")).collect::<String>());
            document.add_u64(number, at);
            writer.add_document(document)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        Ok(Self { reader: index.reader()?, tokens })
    }

    /// The `top` best texts for weighed tokens, with their scores.
    pub fn search(&self, asked: &[(u64, f32)], top: usize) -> Result<Vec<(u32, f32)>, TantivyError> {
        let clause = |&(token, weight): &(u64, f32)| -> (Occur, Box<dyn Query>) {
            let term = Term::from_field_text(self.tokens, &format!("{token:x}"));
            let query: Box<dyn Query> = Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs));
            (Occur::Should, if weight == 1.0 { query } else { Box::new(BoostQuery::new(query, weight)) })
        };
        let query = BooleanQuery::new(asked.iter().map(clause).collect());
        let searcher = self.reader.searcher();
        let found = searcher.search(&query, &TopDocs::with_limit(top.max(1)).order_by_score())?;
        found
            .into_iter()
            .map(|(score, address)| {
                let numbers = searcher.segment_reader(address.segment_ord).fast_fields().u64("number")?;
                Ok((numbers.first(address.doc_id).unwrap_or(u64::MAX) as u32, score))
            })
            .collect()
    }
}
