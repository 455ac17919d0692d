//! Finding the rows that a question is about.

use std::sync::Arc;
use std::time::Instant;

use karute_engine::{Embedding, Explained, Facet, Filter, Index, Query, Scratch};
use karute_sync::embed::Task;

use super::people::People;
use super::relevance::{Held, Relevance, held_by};
use super::{Evidence, Question, Retrieved};
use crate::error::Failure;
use crate::state::App;

/// Rows that the index is asked for, before the best of them are chosen by wording: a vector of wording alone is a
/// coarse measure, since the words that occur everywhere weigh in it as much as those that tell.
const CANDIDATES: usize = 200;

/// What is left of the score of a row that does not speak of whom the question names.
const ABOUT_ANOTHER: f32 = 0.3;

/// Retrieves the rows that cover the question best among those nearest to it. A question without a single word finds nothing.
///
/// # Errors
/// [`Failure::NotReady`] before a snapshot is served; what the embedder or the engine could not do.
pub async fn retrieve(app: &App, question: &Question) -> Result<Retrieved, Failure> {
    let began = Instant::now();
    let index = app.index()?;
    let texts = [question.text.clone()];
    let embedding = app.embedder.embed(&texts, Task::Query);
    let embedding =
        tokio::time::timeout(app.deadline(), embedding).await.map_err(|_| Failure::TimedOut)??;
    let snapshot = index.id();
    let (evidence, explained) = match embedding.into_iter().next().flatten() {
        Some(embedding) => {
            let (filter, question) = (filter(question), question.clone());
            let found = app.on_pool(move || search(&index, &embedding, &filter, &question)).await??;
            (found.0, Some(found.1))
        }
        None => (Vec::new(), None),
    };
    Ok(Retrieved { evidence: evidence.into(), snapshot, explained, took: began.elapsed() })
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
    embedding: &Embedding,
    filter: &Filter,
    question: &Question,
) -> Result<(Vec<Evidence>, Explained), Failure> {
    let query = Query::new(embedding).top(CANDIDATES.max(question.top)).within(filter).plan(question.plan);
    let mut hits = Vec::new();
    let explained = index.search_into(&query, &mut Scratch::default(), &mut hits)?;
    let mut found = Vec::with_capacity(hits.len());
    for hit in hits {
        found.push(Evidence { row: index.row(hit.row)?, similarity: hit.score, score: 0.0, about: false });
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
    // Stable: rows that cover the question alike keep the order of their vectors.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(question.top);
    Ok((found, explained))
}
