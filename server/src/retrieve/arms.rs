//! Both arms of the search and their mix: rows brought up by vectors, by words, or by both.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use karute_engine::fusion::{Fused, Fusion};
use karute_engine::lexical::tokens::counted;
use karute_engine::{
    Counters, Day, Embedding, Explained, Facet, Filter, Index, Plan, Query, Scratch, Stage, Watch,
};
use serde::Serialize;

use super::Evidence;
use super::caller::Caller;
use super::understand::{ExpandedTerm, Understood};
use crate::error::Failure;

/// What a token of another name for a term is worth beside one of the question's own.
const SYNONYM: f32 = 0.15;

/// One place in so many is kept for rows of others, where the question names clients or days.
const RESERVED: usize = 5;

/// The rows of each arm that are looked at whatever the other arm says.
const BEST: usize = 10;

/// Searches in a row after which an arm that brought up nothing is worth a warning.
const SILENT: u32 = 50;

/// Counts searches in which an arm brought up nothing: an index without words, or vectors of another world, answer
/// worse without failing.
#[derive(Debug, Default)]
pub struct Silence {
    vectors: AtomicU32,
    words: AtomicU32,
}

impl Silence {
    /// Notes a search, and warns where an arm has been silent for long. A search that found nothing at all says nothing of
    /// either.
    pub(super) fn note(&self, found: &[Evidence]) {
        if found.is_empty() {
            return;
        }
        let arms = [
            (&self.vectors, "vectors", found.iter().any(|evidence| evidence.similarity > 0.0)),
            (&self.words, "words", found.iter().any(|evidence| evidence.keywords > 0.0)),
        ];
        for (count, arm, heard) in arms {
            if heard {
                count.store(0, Ordering::Relaxed);
            } else if count.fetch_add(1, Ordering::Relaxed) + 1 == SILENT {
                tracing::warn!(
                    arm,
                    searches = SILENT,
                    "an arm of the search has brought up nothing for many questions"
                );
            }
        }
    }

    /// The arms that have been silent for long.
    pub fn silent(&self) -> impl Iterator<Item = &'static str> {
        [(&self.vectors, "vectors"), (&self.words, "words")]
            .into_iter()
            .filter(|(count, _)| count.load(Ordering::Relaxed) >= SILENT)
            .map(|(_, arm)| arm)
    }
}

/// What a search of both arms found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rows, best first.
    pub(super) rows: Vec<Fused>,
    /// How vectors were searched; `None` without a vector.
    pub(super) explained: Option<Planned>,
}

/// Searches both arms `depth` rows deep. Where the question names clients or days, their own rows come first, however many
/// others fit its words better.
pub(super) fn search(
    index: &Index,
    embedding: Option<&Embedding>,
    understood: &Understood,
    filter: &Filter,
    plan: Plan,
    depth: usize,
) -> Result<Found, Failure> {
    let tokens = tokens(&understood.text, &understood.terms);
    let within = |filter: &Filter| mixed(index, embedding, &tokens, filter, plan, depth);
    // The narrowest first.
    let people = &understood.people.clients;
    let of_people = (!people.is_empty()).then(|| filter.clone().only(Facet::Client, people.clone()));
    let base = of_people.as_ref().unwrap_or(filter);
    let of_days = understood.days.iter().filter_map(|span| {
        let day = |date: time::Date| date.to_string().parse::<Day>().ok();
        Some(base.clone().days(day(span.first)?, day(span.last)?))
    });
    let mut found: Option<Found> = None;
    for filter in of_days.collect::<Vec<_>>().iter().chain(&of_people).chain([filter]) {
        let wider = within(filter)?;
        found = Some(match found {
            None => wider,
            Some(mut narrow) => {
                // However many rows are of those clients and days, the best of all others have a place: what is about a client
                // may stand in a row that is nobody's.
                narrow.rows.truncate(depth - depth / RESERVED);
                let known: HashSet<u32> = narrow.rows.iter().map(|fused| fused.row).collect();
                let behind =
                    |arm: fn(&Fused) -> Option<(usize, f32)>| narrow.rows.iter().filter_map(arm).count();
                let (vectors, words) = (behind(|fused| fused.by_vector), behind(|fused| fused.by_words));
                let mut others: Vec<Fused> =
                    wider.rows.into_iter().filter(|fused| !known.contains(&fused.row)).collect();
                renumber(&mut others, vectors, |fused| &mut fused.by_vector);
                renumber(&mut others, words, |fused| &mut fused.by_words);
                narrow.rows.extend(others);
                narrow
            }
        });
    }
    Ok(found.unwrap_or_default())
}

/// The first `depth` of `rows`, the best few of each arm among them: what one arm alone brings up may be worth little in the mix,
/// and is still looked at.
pub(super) fn deepest(mut rows: Vec<Fused>, depth: usize) -> Vec<Fused> {
    let best =
        |fused: &Fused| [fused.by_vector, fused.by_words].iter().flatten().any(|(rank, _)| *rank < BEST);
    let mut room = depth.saturating_sub(rows.iter().filter(|fused| best(fused)).count());
    rows.retain(|fused| {
        best(fused) || {
            let fits = room > 0;
            room = room.saturating_sub(1);
            fits
        }
    });
    rows
}

/// Ranks of an arm go on behind those of `before` rows.
fn renumber(rows: &mut [Fused], before: usize, arm: fn(&mut Fused) -> &mut Option<(usize, f32)>) {
    let mut found: Vec<&mut (usize, f32)> = rows.iter_mut().filter_map(|row| arm(row).as_mut()).collect();
    found.sort_unstable_by_key(|(rank, _)| *rank);
    for (rank, place) in (before..).zip(found) {
        place.0 = rank;
    }
}

/// The question's tokens, and those of other names for its terms.
fn tokens(text: &str, terms: &[ExpandedTerm]) -> Vec<(u64, f32)> {
    let mut all = counted(text);
    for other in terms.iter().flat_map(|term| &term.others) {
        all.extend(counted(other).into_iter().map(|(token, count)| (token, count * SYNONYM)));
    }
    all.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
    // A token of the question that another name shares keeps its own worth.
    all.dedup_by_key(|(token, _)| *token);
    all
}

/// How the search by vectors went.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// Its plan and what it cost.
    #[serde(flatten)]
    pub explained: Explained,
    /// Its parts, in the order in which they ended.
    pub stages: Vec<Lap>,
}

impl Planned {
    /// Without what it cost, for a caller who may not see everything: a walk crosses rows that he may not see, and their number
    /// would tell of them.
    pub(super) fn for_whom(mut self, caller: &Caller) -> Self {
        if !caller.sees_all() {
            self.explained.counters = Counters::default();
        }
        self
    }
}

/// A part of a search by vectors.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lap {
    /// Which.
    pub stage: Stage,
    /// How long it took.
    pub microseconds: f64,
}

/// Notes how long each part of a search takes.
struct Stopwatch {
    began: Instant,
    stages: Vec<Lap>,
}

impl Stopwatch {
    fn start() -> Self {
        Self { began: Instant::now(), stages: Vec::with_capacity(4) }
    }
}

impl Watch for Stopwatch {
    fn ended(&mut self, stage: Stage) {
        let now = Instant::now();
        self.stages.push(Lap { stage, microseconds: (now - self.began).as_secs_f64() * 1e6 });
        self.began = now;
    }
}

thread_local! {
    /// Each thread that searches keeps its room for the next search.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

fn mixed(
    index: &Index,
    embedding: Option<&Embedding>,
    tokens: &[(u64, f32)],
    filter: &Filter,
    plan: Plan,
    depth: usize,
) -> Result<Found, Failure> {
    let (by_vector, explained) = match embedding {
        Some(embedding) => {
            let (found, explained) = by_vector(index, embedding, filter, plan, depth)?;
            (found, Some(explained))
        }
        None => (Vec::new(), None),
    };
    // Snapshots of earlier builds have no words; their vectors have to do.
    let by_words = index.keyword_search(tokens, depth, Some(filter))?.unwrap_or_default();
    let by_words: Vec<(u32, f32)> = by_words.iter().map(|hit| (hit.row, hit.score)).collect();
    Ok(Found { rows: Fusion { depth, ..Fusion::default() }.mix(&by_vector, &by_words), explained })
}

/// The `top` rows nearest to `embedding`, each with its cosine, the nearest first.
pub(super) fn by_vector(
    index: &Index,
    embedding: &Embedding,
    filter: &Filter,
    plan: Plan,
    top: usize,
) -> Result<(Vec<(u32, f32)>, Planned), Failure> {
    let query = Query::new(embedding).top(top).within(filter).plan(plan);
    let (mut hits, mut stopwatch) = (Vec::new(), Stopwatch::start());
    let explained = SCRATCH
        .with_borrow_mut(|scratch| index.search_watched(&query, scratch, &mut hits, &mut stopwatch))?;
    let found = hits.iter().map(|hit| (hit.row, hit.score)).collect();
    Ok((found, Planned { explained, stages: stopwatch.stages }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_rows_of_either_arm_are_always_looked_at(
            vectors in prop::collection::vec(0.01f32..1.0, 1..150), words in prop::collection::vec(0.01f32..1.0, 1..150),
            nearness in 0.05f32..1.0,
        ) {
            let ranking = |scores: &[f32], first: u32| -> Vec<(u32, f32)> {
                let mut scores = scores.to_vec();
                scores.sort_by(|a, b| b.total_cmp(a));
                (first..).zip(scores).collect()
            };
            // No row in common: the worst case for the arm that counts less.
            let (mut by_vector, by_words) = (ranking(&vectors, 0), ranking(&words, 1_000));
            by_vector.iter_mut().for_each(|(_, score)| *score *= nearness);
            let mixed = Fusion::default().mix(&by_vector, &by_words);
            let kept = deepest(mixed, 100);
            prop_assert!(kept.len() <= 100);
            for (row, _) in by_vector.iter().take(BEST).chain(by_words.iter().take(BEST)) {
                prop_assert!(kept.iter().any(|fused| fused.row == *row), "{row}");
            }
        }
    }

    #[test]
    fn an_arm_is_silent_after_many_searches_without_it_and_until_it_is_heard() {
        let silence = Silence::default();
        // Exact search always brings up rows; if nothing is alike, they say nothing.
        let words = Evidence { by_vector: Some(1), by_words: Some(1), keywords: 1.0, ..Evidence::default() };
        (0..SILENT).for_each(|_| silence.note(std::slice::from_ref(&words)));
        assert_eq!(silence.silent().collect::<Vec<_>>(), ["vectors"]);
        silence.note(&[Evidence { similarity: 0.5, ..words }]);
        assert_eq!(silence.silent().count(), 0);
    }
}
