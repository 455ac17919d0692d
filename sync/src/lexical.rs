//! `karute-lexical`: vectors from wording alone, without a model, a network or a cost.
//!
//! Feature hashing (Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009) of the
//! [features] of the normalised text, with sublinear term frequency and unit length.
//! Two texts are near each other when they use the same words; that two different words mean the same is beyond it.
//! It exists so that karute does its whole job without a cloud account, and says `karute-lexical` wherever it did.

use async_trait::async_trait;
use karute_engine::words::features;
use karute_engine::{Embedding, Identity};

use crate::embed::{EmbedError, Embedder, Task};

/// Dimensions of its vectors.
pub const DIMENSIONS: u32 = 512;
/// Its name. The number at the end changes with every change of its output.
pub const MODEL: &str = "karute-lexical-1";

/// Characters of a passage: a longer text says too little of each part. Chosen on `tests/eval/tune.jsonl`.
const PASSAGE: usize = 300;
const BATCH_SIZE: usize = 64;

/// The local embedder.
#[derive(Clone, Debug)]
pub struct Lexical {
    identity: Identity,
}

impl Default for Lexical {
    fn default() -> Self {
        Self { identity: Identity::new("karute", MODEL, DIMENSIONS) }
    }
}

impl Lexical {
    /// The unit vector of `text`, or `None` if no letter, digit or kanji is in it. The same bits on every machine:
    /// the order of the sums is fixed, and the logarithm is libm's own rather than the system's.
    pub fn vector(&self, text: &str) -> Option<Vec<f32>> {
        let mut sums = vec![0.0f64; DIMENSIONS as usize];
        for feature in features(text) {
            let value = f64::from(feature.weight) * (1.0 + libm::log(f64::from(feature.count)));
            // The low bits choose the dimension, the highest bit the sign, so that collisions cancel on average.
            let dimension = (feature.hash % u64::from(DIMENSIONS)) as usize;
            sums[dimension] += if feature.hash >> 63 == 0 { value } else { -value };
        }
        let norm = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
        (norm > 0.0).then(|| sums.into_iter().map(|sum| (sum / norm) as f32).collect())
    }
}

#[async_trait]
impl Embedder for Lexical {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn is_free(&self) -> bool {
        true
    }

    fn passage_characters(&self) -> usize {
        PASSAGE
    }

    fn batch_size(&self) -> usize {
        BATCH_SIZE
    }

    async fn embed(&self, texts: &[String], _task: Task) -> Result<Vec<Option<Embedding>>, EmbedError> {
        if texts.len() > BATCH_SIZE {
            return Err(EmbedError::BatchTooLarge { found: texts.len(), limit: BATCH_SIZE });
        }
        let embed = |text: &String| Some(Embedding::new(self.identity.clone(), self.vector(text)?));
        Ok(texts.iter().map(embed).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn similarity(a: &str, b: &str) -> f32 {
        let lexical = Lexical::default();
        let (a, b) = (lexical.vector(a).expect("words"), lexical.vector(b).expect("words"));
        a.iter().zip(&b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_question_is_nearer_to_the_record_that_answers_it() {
        let question = "バルーンの交換日はいつですか";
        let right = "膀胱留置カテーテル（バルーン）の次回交換日は10月20日。";
        let wrong = "酸素流量を毎分2Lに変更した。";
        assert!(similarity(question, right) > similarity(question, wrong) + 0.1);
    }

    #[test]
    fn its_output_never_changes() {
        // Snapshots in the field hold vectors made by this code: a change here needs a new MODEL name.
        let vector = Lexical::default().vector("体温38.5℃、SpO2 96%。バルーン留置中。").expect("words");
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), GOLDEN);
    }

    const GOLDEN: &str = "aeb4e02ef2920752ea3f7cf20b3aae7da4ca7b92d000b9671e2dea4f3901718c";

    #[test]
    fn a_text_without_words_has_no_vector() {
        let lexical = Lexical::default();
        assert!(["", " \n", "。、！", "→★"].iter().all(|text| lexical.vector(text).is_none()));
    }

    proptest! {
        #[test]
        fn every_vector_is_finite_and_of_unit_length(text in any::<String>()) {
            if let Some(vector) = Lexical::default().vector(&text) {
                let norm: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                prop_assert!((norm - 1.0).abs() < 1e-5);
            }
        }
    }
}
