//! Answers that are given again: the same question word for word, of somebody with the same rights, over the same snapshot,
//! by the same model under the same rules.

use std::sync::Arc;

use karute_sync::generate::Finish;

use super::{Exchange, Summary};
use crate::app::App;
use crate::cache::{Fresh, Key, key};
use crate::retrieve::{Question, Retrieved, question_key};

/// An answer that was given.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// What was found.
    pub retrieved: Box<Retrieved>,
    /// The text.
    pub text: String,
    /// How it came about.
    pub summary: Summary,
}

impl Remembered {
    /// What it cost, yen: embedding, ranking, the model.
    pub fn yen(&self) -> f64 {
        self.retrieved.yen + self.summary.total_cost_jpy.unwrap_or(0.0)
    }

    /// The answer, to be kept, if it is one that may be given again: nothing was left out, and nothing in it is doubtful.
    pub fn keep(retrieved: Box<Retrieved>, text: String, summary: &Summary) -> Option<Fresh<Arc<Self>>> {
        let sound = matches!(summary.finish, None | Some(Finish::Stop))
            && summary.degraded.is_none()
            && summary.reason.is_none()
            && summary.verdicts.iter().all(|verdict| verdict.supported);
        let rows: usize = retrieved.evidence.iter().map(crate::retrieve::bytes).sum();
        let bytes = rows + text.len() + 1024;
        let kept = Self { retrieved, text, summary: summary.clone() };
        let yen = kept.yen();
        sound.then(|| Fresh { value: Arc::new(kept), bytes, yen })
    }
}

/// What the answer to `question` depends on; `None` where answers are not kept, or nothing is served.
pub fn answer_key(app: &App, question: &Question, earlier: &[Exchange]) -> Option<Key> {
    if !app.caches.answers.is_on() {
        return None;
    }
    let index = app.index().ok()?;
    let asked = question_key(app, question, &index);
    let answerers = app.answerers.iter().map(|answerer| answerer.fingerprint(&question.text));
    let answerers: Vec<String> = answerers.collect();
    let earlier: Vec<[&[u8]; 2]> =
        earlier.iter().map(|e| [e.question.as_bytes(), e.answer.as_bytes()]).collect();
    let parts = [b"answer".as_slice(), &asked].into_iter();
    Some(key(parts.chain(answerers.iter().map(String::as_bytes)).chain(earlier.into_iter().flatten())))
}
