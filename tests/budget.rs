//! Fear: a search that grows slower without anybody noticing. What a query compares, reads and allocates depends on no
//! clock, so it is held against a budget; `benches/README.md` says how to update it.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use karute_engine::{
    Counters, Draft, Embedding, Facet, Filter, GraphSettings, Hit, Identity, Index, Passage, Plan,
    Provenance, Query, Row, Scratch,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const ROWS: usize = 6_000;
const DIMENSIONS: usize = 64;
const QUESTIONS: usize = 100;

fn direction(random: &mut ChaCha8Rng) -> Vec<f32> {
    (0..DIMENSIONS).map(|_| random.random_range(-1.0f32..1.0)).collect()
}

fn snapshot(random: &mut ChaCha8Rng) -> (Index, Vec<Embedding>) {
    let identity = Identity::new("test", "clustered", DIMENSIONS as u32);
    let centres: Vec<Vec<f32>> = (0..ROWS / 50).map(|_| direction(random)).collect();
    let near = |number: usize, random: &mut ChaCha8Rng| -> Vec<f32> {
        let centre = &centres[number % centres.len()];
        let vector: Vec<f32> = centre.iter().zip(direction(random)).map(|(c, s)| c + 0.6 * s).collect();
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.into_iter().map(|x| x / norm).collect()
    };
    let mut draft = Draft::new(identity.clone());
    draft.set_graph(Some(GraphSettings::default()));
    for number in 0..ROWS {
        let row =
            Row { id: number.to_string(), client_id: format!("CL-{}", number / 7 % 4), ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &near(number, random))]).expect("a sound row");
    }
    let bytes = draft.finish(Provenance::default()).expect("a draft").to_bytes();
    let questions = (0..QUESTIONS).map(|n| Embedding::new(identity.clone(), near(n * 3, random))).collect();
    (Index::from_slice(&bytes).expect("a snapshot"), questions)
}

#[test]
fn searches_stay_within_their_budget_and_allocate_nothing_once_they_are_warm() {
    let (index, questions) = snapshot(&mut ChaCha8Rng::seed_from_u64(2));
    let client = Filter::everything().only(Facet::Client, ["CL-1", "CL-2", "CL-3"]);
    let walk = Plan::Graph { ef_search: 64 };
    // Comparisons, nodes visited, vectors compared and bytes a hundred questions: as measured, and 3 in 100 more.
    let cases = [
        (
            "exact",
            Plan::Exact,
            None,
            Counters { distances: 600_000, hops: 0, rescored: 1_938, bytes: 41_296_128 },
        ),
        ("graph", walk, None, Counters { distances: 71_309, hops: 7_087, rescored: 1_900, bytes: 5_957_312 }),
        (
            "graph within three clients of four",
            walk,
            Some(&client),
            Counters { distances: 90_606, hops: 8_031, rescored: 1_895, bytes: 7_347_832 },
        ),
    ];
    for (name, plan, filter, budget) in cases {
        let (mut scratch, mut hits) = (Scratch::default(), Vec::<Hit>::new());
        let mut spent = Counters::default();
        let mut pass = || {
            for question in &questions {
                let mut query = Query::new(question).plan(plan);
                if let Some(filter) = filter {
                    query = query.within(filter);
                }
                let counters = index.search_into(&query, &mut scratch, &mut hits).expect("a search").counters;
                spent.distances += counters.distances;
                spent.hops += counters.hops;
                spent.rescored += counters.rescored;
                spent.bytes += counters.bytes;
            }
        };
        pass();
        let allocated = allocation_counter::measure(&mut pass);
        // A filter is compiled to bits for each query.
        assert!(allocated.count_total == 0 || filter.is_some(), "{name}: {allocated:?}");
        for (what, spent, budget) in [
            ("distances", spent.distances / 2, budget.distances),
            ("hops", spent.hops / 2, budget.hops),
            ("vectors compared", spent.rescored / 2, budget.rescored),
            ("bytes", spent.bytes / 2, budget.bytes),
        ] {
            assert!(spent * 100 <= budget * 103, "{name}: {spent} {what}, budget {budget}");
        }
    }
}
