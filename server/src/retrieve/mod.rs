//! Finding the rows that a question is about.

use std::sync::Arc;
use std::time::Instant;

use karute_engine::fusion::Fusion;
use karute_engine::lexical::tokens::counted;
use karute_engine::{Embedding, Explained, Facet, Filter, Index, Query, Scratch};
use karute_sync::embed::Task;

use super::people::People;
use super::relevance::{Held, Relevance, held_by};
use super::{Evidence, Question, Retrieved};
use crate::error::Failure;
use crate::state::App;

/// Rows that each arm is asked for, by vectors and by words, before the best of both are chosen by how much of the
/// question they cover.
const CANDIDATES: usize = 200;

/// The share of a question's time that its embedding may take: one in so many.
const EMBEDDING_SHARE: u32 = 3;

/// What is said when the embedder did not answer.
const WORDS_ALONE: &str = "埋め込みモデルが応答しないため、語だけで検索しました。";

/// What is left of the score of a row that does not speak of whom the question names.
const ABOUT_ANOTHER: f32 = 0.3;

/// Retrieves the rows that cover the question best among those that vectors and words bring up. A question without a
/// single word finds nothing. An embedder that does not answer leaves the words.
///
/// # Errors
/// [`Failure::NotReady`] before a snapshot is served; what the engine could not do.
pub async fn retrieve(app: &App, question: &Question) -> Result<Retrieved, Failure> {
    let began = Instant::now();
    let index = app.index()?;
    let (embedding, degraded) = embed(app, question).await;
    let snapshot = index.id();
    let (filter, asked) = (filter(question), question.clone());
    let searching = app.on_pool(move || search(&index, embedding.as_ref(), &filter, &asked));
    let (evidence, explained) = searching.await??;
    Ok(Retrieved { evidence: evidence.into(), snapshot, explained, degraded, took: began.elapsed() })
}

/// The question's vector, if it has a word and the embedder answers in time; else why it has none. Words find without it.
async fn embed(app: &App, question: &Question) -> (Option<Embedding>, Option<&'static str>) {
    let texts = [question.text.clone()];
    let patience = app.deadline() / EMBEDDING_SHARE;
    match tokio::time::timeout(patience, app.embedder.embed(&texts, Task::Query)).await {
        Ok(Ok(embeddings)) => (embeddings.into_iter().next().flatten(), None),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a question was not embedded, so words alone were searched");
            (None, Some(WORDS_ALONE))
        }
        Err(_) => {
            tracing::warn!("a question was not embedded in time, so words alone were searched");
            (None, Some(WORDS_ALONE))
        }
    }
}

fn filter(question: &Question) -> Filter {
    let mut filter = Filter::everything();
    if let Some(client) = &question.client_id {
        filter = filter.only(Facet::Client, [client]);
    }
    if let Some(domain) = &question.domain {
        filter = filter.only(Facet::Domain, [domain]);
    }
    filter
}

fn search(
    index: &Arc<Index>,
    embedding: Option<&Embedding>,
    filter: &Filter,
    question: &Question,
) -> Result<(Vec<Evidence>, Option<Explained>), Failure> {
    let depth = CANDIDATES.max(question.top);
    let (mut hits, mut explained) = (Vec::new(), None);
    if let Some(embedding) = embedding {
        let query = Query::new(embedding).top(depth).within(filter).plan(question.plan);
        explained = Some(index.search_into(&query, &mut Scratch::default(), &mut hits)?);
    }
    let by_vector: Vec<(u32, f32)> = hits.iter().map(|hit| (hit.row, hit.score)).collect();
    // Snapshots of earlier builds have no words; their vectors have to do.
    let by_words = index.keyword_search(&counted(&question.text), depth, Some(filter))?.unwrap_or_default();
    let by_words: Vec<(u32, f32)> = by_words.iter().map(|hit| (hit.row, hit.score)).collect();
    let fused = Fusion { depth, ..Fusion::default() }.mix(&by_vector, &by_words);
    let mut found = Vec::with_capacity(fused.len());
    for (mixed, fused) in (1..).zip(fused) {
        found.push(Evidence {
            mixed,
            row: index.row(fused.row)?,
            similarity: fused.by_vector.map_or(0.0, |(_, score)| score),
            by_vector: fused.by_vector.map(|(rank, _)| rank + 1),
            by_words: fused.by_words.map(|(rank, _)| rank + 1),
            score: 0.0,
            about: false,
        });
    }
    let held: Vec<Held> = found.iter().map(held_by).collect();
    let relevance = Relevance::new(&question.text, &held);
    let people = People::of(&question.text, index)?;
    for (evidence, held) in found.iter_mut().zip(&held) {
        let covered = relevance.covered(held);
        // A row about somebody else answers nothing, however well its words fit; it stays in sight as a near miss.
        evidence.about = people.any_in(evidence);
        evidence.score = if evidence.about { covered } else { covered * ABOUT_ANOTHER };
    }
    // Stable: rows that cover the question alike keep the order that both arms gave them.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(question.top);
    Ok((found, explained))
}
