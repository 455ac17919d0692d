//! Fear: a search that passes over the right row. The exact plan must give what sorting every score gives, whatever the
//! codes lost; the graph must be the same on any machine, and never give fewer rows than there are.

#![expect(clippy::expect_used, reason = "a test that cannot go on should say where")]

use karute_engine::{
    Day, Draft, Embedding, Facet, Filter, GraphSettings, Hit, Identity, Index, Passage, Plan, Precision,
    Provenance, Query, QueryError, Row, Scratch, Stage, Watch,
};
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const TOP: usize = 10;

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / norm).collect()
}

fn direction(dimensions: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    unit((0..dimensions).map(|_| (0..3).map(|_| random.random_range(-1.0f32..1.0)).sum()).collect())
}

fn identity(dimensions: usize) -> Identity {
    Identity::new("test", "clustered", dimensions as u32)
}

/// Clustered rows; each client has every tenth row, and domain `rare` one row in a hundred, all of one cluster.
fn draft(rows: usize, dimensions: usize, random: &mut ChaCha8Rng) -> (Draft, Vec<Vec<f32>>) {
    let centres: Vec<Vec<f32>> = (0..rows / 40 + 1).map(|_| direction(dimensions, random)).collect();
    let mut draft = Draft::new(identity(dimensions));
    let mut vectors = Vec::new();
    for number in 0..rows {
        let centre = &centres[number % centres.len()];
        let stray = direction(dimensions, random);
        let vector = unit(centre.iter().zip(&stray).map(|(c, s)| c + 0.7 * s).collect());
        let row = Row {
            id: format!("KB_{number}"),
            client_id: format!("CL-{}", number % 10),
            domain: if number % centres.len() == 1 { "rare" } else { "nursing" }.into(),
            ..Row::default()
        };
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        vectors.push(vector);
    }
    (draft, vectors)
}

fn open(draft: Draft) -> Index {
    Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("a snapshot")
}

fn rows(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Vectors from a coarse grid, so that scores tie; some rows have several passages, some none.
    #[test]
    fn exact_search_gives_what_sorting_every_score_gives(
        passages in prop::collection::vec(prop::collection::vec(prop::collection::vec(-3i8..4, 9), 0..3), 1..60),
        asked in prop::collection::vec(-3i8..4, 9),
        spike in 0.0f32..300.0,
        top in 0usize..20,
        clients in prop::collection::vec(0usize..3, 0..3),
        precision in prop::sample::select(Precision::ALL.to_vec()),
    ) {
        prop_assume!(asked.iter().any(|&x| x != 0));
        let vector = |grid: &[i8]| {
            let mut vector: Vec<f32> = grid.iter().map(|&x| f32::from(x)).collect();
            vector[0] *= spike;
            (vector.iter().any(|&x| x != 0.0)).then(|| unit(vector))
        };
        let mut draft = Draft::new(identity(9));
        draft.set_precision(precision).expect("an empty draft");
        let mut truth = Vec::new();
        for (number, grids) in passages.iter().enumerate() {
            let row = Row { id: format!("r{number}"), client_id: format!("CL-{}", number % 3), ..Row::default() };
            let vectors: Vec<Vec<f32>> = grids.iter().filter_map(|grid| vector(grid)).collect();
            let passages: Vec<Passage<'_>> = vectors.iter().map(|vector| Passage::whole(&row, vector)).collect();
            draft.push(&row, &passages).expect("a sound row");
            truth.push(vectors.iter().map(|vector| precision.rounded(vector).into_owned()).collect::<Vec<_>>());
        }
        let index = open(draft);
        index.verify().expect("sound");
        let question = Embedding::new(identity(9), asked.iter().map(|&x| f32::from(x)).collect());
        let filter = match clients.as_slice() {
            [] => Filter::everything(),
            some => Filter::everything().only(Facet::Client, some.iter().map(|client| format!("CL-{client}"))),
        };
        let all = index.search(&Query::new(&question).top(usize::MAX).within(&filter)).expect("a search");
        // As many rows as may be found and have a vector, each once.
        let expected = truth.iter().enumerate()
            .filter(|(number, vectors)| !vectors.is_empty() && (clients.is_empty() || clients.contains(&(number % 3))));
        prop_assert_eq!(all.len(), expected.count());
        // The score is that of the best passage, and the order is total.
        let query = unit(asked.iter().map(|&x| f32::from(x)).collect());
        for hit in &all {
            let best = truth[hit.row as usize].iter()
                .map(|vector| vector.iter().zip(&query).map(|(a, b)| a * b).sum::<f32>())
                .fold(f32::NEG_INFINITY, f32::max);
            prop_assert!((hit.score - best).abs() < 1e-5, "{} for {best}", hit.score);
        }
        prop_assert!(all.is_sorted_by(|a, b| a.score > b.score || (a.score == b.score && a.row < b.row)));
        // Split over threads, it is the same search.
        if clients.is_empty() {
            let threads = Query::new(&question).top(top).on_all_threads();
            let threads = index.search(&threads).expect("a search");
            prop_assert_eq!(threads.as_slice(), &all[..top.min(all.len())]);
        }
        // Fewer are the first of all.
        let few = index.search(&Query::new(&question).top(top).within(&filter)).expect("a search");
        prop_assert_eq!(few.as_slice(), &all[..top.min(all.len())]);
    }
}

#[test]
fn the_same_rows_give_the_same_bytes_on_any_number_of_threads() {
    let sealed = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let (mut draft, vectors) = draft(3_000, 32, &mut ChaCha8Rng::seed_from_u64(7));
        draft.set_graph(Some(GraphSettings::default()));
        // Some records say a thing twice, one of them very often.
        for (number, vector) in vectors.iter().step_by(50).chain([&vectors[9]; 100]).enumerate() {
            let row = Row { id: format!("again {number}"), ..Row::default() };
            draft.push(&row, &[Passage::whole(&row, vector)]).expect("a sound row");
        }
        pool.install(|| draft.finish(Provenance::default())).expect("a draft").to_bytes()
    };
    let one = sealed(1);
    assert_eq!(one, sealed(2));
    assert_eq!(one, sealed(5));
}

#[test]
fn half_precision_halves_the_vectors_and_leaves_what_is_found() {
    let made = |precision| {
        let mut random = ChaCha8Rng::seed_from_u64(13);
        let mut half = Draft::new(identity(64));
        half.set_precision(precision).expect("an empty draft");
        half.set_graph(Some(GraphSettings::default()));
        let vectors: Vec<Vec<f32>> = (0..2_000).map(|_| direction(64, &mut random)).collect();
        for (number, vector) in vectors.iter().enumerate() {
            let row = Row { id: format!("KB_{number}"), ..Row::default() };
            half.push(&row, &[Passage::whole(&row, vector)]).expect("a sound row");
        }
        assert!(half.set_precision(Precision::F32).is_err(), "there are rows already");
        (open(half), vectors)
    };
    let ((whole, vectors), (half, _)) = (made(Precision::F32), made(Precision::F16));
    half.verify().expect("sound");
    assert_eq!(half.precision(), Precision::F16);
    let bytes = |index: &Index| index.sections().last().expect("the vectors").length;
    assert_eq!(bytes(&whole), 2 * bytes(&half));
    assert_ne!(whole.id(), half.id());
    let (mut same, mut met) = (0, 0);
    for vector in vectors.iter().step_by(50) {
        let question = Embedding::new(identity(64), vector.clone());
        let truth = whole.search(&Query::new(&question).plan(Plan::Exact)).expect("a search");
        let found = half.search(&Query::new(&question).plan(Plan::Exact)).expect("a search");
        for (truth, found) in truth.iter().zip(&found) {
            assert!((truth.score - found.score).abs() < 1e-3, "{truth:?}, {found:?}");
            same += usize::from(truth.row == found.row);
        }
        let walked = half.search(&Query::new(&question).plan(Plan::Graph { ef_search: 100 }));
        let walked = rows(&walked.expect("a search"));
        met += rows(&found).iter().filter(|row| walked.contains(row)).count();
        let kept = half.passages_of(found[0].row).expect("a passage");
        assert_eq!(kept[0].vector(), &*Precision::F16.rounded(vector));
    }
    assert!(same > 390, "{same} of 400 rows keep their place");
    assert!(met > 380, "{met} of 400 rows are met by a walk");
    assert_eq!(karute_engine::diff(&whole, &half).expect("sound"), karute_engine::Diff::default());
}

/// Of so many questions near rows of `vectors`, the share of the ten true rows that `plan` finds within `filter`, and how many
/// were answered by a walk.
fn recall(index: &Index, questions: &[Embedding], filter: &Filter, plan: Plan) -> (f64, usize) {
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    let (mut met, mut wanted, mut walked) = (0, 0, 0);
    for question in questions {
        let query = Query::new(question).top(TOP).within(filter);
        let truth = rows(&index.search(&query.clone().plan(Plan::Exact)).expect("a search"));
        let explained = index.search_into(&query.plan(plan), &mut scratch, &mut hits).expect("a search");
        let found = rows(&hits);
        assert_eq!(found.len(), truth.len(), "fewer rows than there are");
        met += found.iter().filter(|row| truth.contains(row)).count();
        wanted += truth.len();
        walked += usize::from(explained.ef_search.is_some());
    }
    (met as f64 / f64::from(wanted.max(1) as u32), walked)
}

#[test]
fn the_graph_finds_what_exact_search_finds_under_any_filter() {
    const ROWS: usize = 20_000;
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let centres: Vec<Vec<f32>> = (0..ROWS / 40).map(|_| direction(48, &mut random)).collect();
    let axis = direction(48, &mut random);
    let mut draft = Draft::new(identity(48));
    draft.set_graph(Some(GraphSettings::default()));
    let mut questions = [Vec::new(), Vec::new()];
    for number in 0..ROWS {
        let stray = direction(48, &mut random);
        let centre = &centres[number % centres.len()];
        let vector = unit(centre.iter().zip(&stray).map(|(c, s)| c + 0.7 * s).collect());
        // Records of one subject lie on one side, and so do the questions about it.
        let side = usize::from(vector.iter().zip(&axis).map(|(v, a)| v * a).sum::<f32>() > 0.1);
        let row = Row {
            id: format!("KB_{number}"),
            client_id: format!("CL-{}", number % 10),
            domain: ["far", "near"][side].into(),
            source_type: if number % 200 == 0 { "rare" } else { "visit" }.into(),
            ..Row::default()
        };
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        if number % 67 == 0 {
            let stray = direction(48, &mut random);
            let asked = vector.iter().zip(&stray).map(|(v, s)| v + 0.4 * s).collect();
            questions[side].push(Embedding::new(identity(48), asked));
        }
    }
    let index = open(draft);
    index.verify().expect("sound: every row can be reached");
    let promise = index.promise().expect("a graph").expect("a promise");
    assert!(promise.curve.is_sorted_by(|a, b| a.0 < b.0) && promise.ef_search.is_some(), "{promise:?}");
    let everything = Filter::everything;
    let clients =
        |share: usize| everything().only(Facet::Client, (0..share).map(|client| format!("CL-{client}")));
    let [far, near] = &questions;
    let all = [far.as_slice(), near].concat();
    // Name, questions, filter, and whether the planner walks for all of them.
    for (name, asked, filter, walks) in [
        ("everything", &all, everything(), true),
        ("nine in ten", &all, clients(9), true),
        ("seven in ten", &all, clients(7), true),
        ("half", &all, clients(5), true),
        ("three in ten", &all, clients(3), false),
        ("what the question is about", near, everything().only(Facet::Domain, ["near"]), true),
        ("what it is not about", near, everything().only(Facet::Domain, ["far"]), false),
        ("what few questions are about", far, everything().only(Facet::Domain, ["near"]), false),
        ("one in ten", &all, clients(1), false),
        ("one in two hundred", &all, everything().only(Facet::SourceType, ["rare"]), false),
        ("nobody", &all, everything().only(Facet::Client, ["CL-99"]), false),
    ] {
        for plan in [Plan::Auto, Plan::Graph { ef_search: 200 }] {
            let (recall, walked) = recall(&index, asked, &filter, plan);
            assert!(recall >= 0.99 || name == "nobody", "{name} with {plan:?}: {recall}");
            // Where a question is opposed, or few rows are left, reading them all may be cheaper.
            assert!(!walks || plan != Plan::Auto || walked == asked.len(), "{name}: only {walked} walked");
        }
    }
}

#[test]
fn a_client_of_many_copies_and_a_few_other_rows_is_searched_whole() {
    let mut random = ChaCha8Rng::seed_from_u64(23);
    let mut draft = Draft::new(identity(32));
    draft.set_graph(Some(GraphSettings::default()));
    let (nothing, mut questions) = (direction(32, &mut random), Vec::new());
    for number in 0..9_000 {
        // Most of what is written of this client is one sentence.
        let (client, vector) = match number % 3 {
            0 => ("CL-1", if number % 300 == 0 { direction(32, &mut random) } else { nothing.clone() }),
            _ => ("CL-2", direction(32, &mut random)),
        };
        let row = Row { id: format!("KB_{number}"), client_id: client.into(), ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        if number % 300 == 0 {
            let stray = direction(32, &mut random);
            let asked = vector.iter().zip(&stray).map(|(v, s)| v + 0.5 * s).collect();
            questions.push(Embedding::new(identity(32), asked));
        }
    }
    let index = open(draft);
    index.verify().expect("sound");
    let client = Filter::everything().only(Facet::Client, ["CL-1"]);
    for plan in [Plan::Auto, Plan::Graph { ef_search: 64 }] {
        let (recall, _) = recall(&index, &questions, &client, plan);
        assert!(recall >= 0.99, "{plan:?}: {recall}");
    }
}

#[test]
fn of_copies_a_walk_gives_those_that_exact_search_gives() {
    let mut random = ChaCha8Rng::seed_from_u64(17);
    let heaps: Vec<Vec<f32>> = (0..30).map(|_| direction(24, &mut random)).collect();
    for (precision, copies) in [(Precision::F32, 2), (Precision::F32, 90), (Precision::F16, 300)] {
        let mut draft = Draft::new(identity(24));
        draft.set_precision(precision).expect("an empty draft");
        draft.set_graph(Some(GraphSettings::default()));
        let mut questions = Vec::new();
        for number in 0..3_000 {
            let heap = &heaps[number % heaps.len()];
            // The same sentence again and again, such as that nothing happened, in the middle of everything else.
            let stray = if number % 10 < 2 && number / heaps.len() < copies {
                vec![0.0; 24]
            } else {
                direction(24, &mut random)
            };
            let vector = unit(heap.iter().zip(&stray).map(|(h, s)| h + 0.5 * s).collect());
            let row =
                Row { id: format!("KB_{number}"), client_id: format!("CL-{}", number % 7), ..Row::default() };
            // A long record may say it twice.
            let passages = [Passage::whole(&row, &vector), Passage::whole(&row, &vector)];
            draft.push(&row, &passages[..1 + usize::from(number % 50 == 1)]).expect("a sound row");
            if number % 40 == 0 {
                let stray = direction(24, &mut random);
                let asked = heap.iter().zip(&stray).map(|(h, s)| h + 0.2 * s).collect();
                questions.push(Embedding::new(identity(24), asked));
            }
        }
        let index = open(draft);
        index.verify().expect("sound");
        let promise = index.promise().expect("a graph").expect("a promise");
        assert!(promise.ef_search.is_some(), "{copies}: {promise:?}");
        let others = Filter::everything().only(Facet::Client, ["CL-1", "CL-3", "CL-4", "CL-6"]);
        for filter in [&Filter::everything(), &others] {
            let (recall, walked) = recall(&index, &questions, filter, Plan::Graph { ef_search: 64 });
            assert!(recall >= 0.99 && walked * 2 > questions.len(), "{copies}: {recall}, {walked} walked");
        }
    }
}

#[test]
fn one_scratch_serves_indexes_of_any_size_and_a_question_without_direction_is_refused() {
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for (rows, dimensions) in [(1usize, 3usize), (900, 70), (2, 128), (40, 1)] {
        let mut random = ChaCha8Rng::seed_from_u64(rows as u64);
        let (mut draft, vectors) = draft(rows, dimensions, &mut random);
        draft.set_graph(Some(GraphSettings::default()));
        let index = open(draft);
        for plan in [Plan::Exact, Plan::Graph { ef_search: 1 }, Plan::Graph { ef_search: usize::MAX }] {
            let question = Embedding::new(identity(dimensions), vectors[rows / 2].clone());
            for top in [0, 1, 7, usize::MAX] {
                let query = Query::new(&question).top(top).plan(plan);
                let explained = index.search_into(&query, &mut scratch, &mut hits).expect("a search");
                assert_eq!(hits, index.search(&query).expect("a search"), "{explained:?}");
                assert_eq!(hits.len(), top.min(rows), "{explained:?}");
            }
        }
        for vector in
            [vec![0.0; dimensions], vec![f32::NAN; dimensions], vec![f32::INFINITY; dimensions], vec![]]
        {
            let question = Embedding::new(identity(dimensions), vector);
            assert!(index.search_into(&Query::new(&question), &mut scratch, &mut hits).is_err());
        }
    }
}

/// Ends a search once it was asked `left` times.
struct Impatient {
    left: usize,
    ended: Vec<Stage>,
}

impl Watch for Impatient {
    fn is_wanted(&mut self) -> bool {
        let wanted = self.left > 0;
        self.left = self.left.saturating_sub(1);
        wanted
    }

    fn ended(&mut self, stage: Stage) {
        self.ended.push(stage);
    }
}

#[test]
fn a_search_that_is_not_wanted_any_more_ends_wherever_it_is_and_one_that_is_tells_its_stages() {
    let mut random = ChaCha8Rng::seed_from_u64(21);
    let (mut draft, vectors) = draft(6_000, 24, &mut random);
    draft.set_graph(Some(GraphSettings::default()));
    let index = open(draft);
    let question = Embedding::new(identity(24), vectors[77].clone());
    let client = Filter::everything().only(Facet::Client, (0..9).map(|client| format!("CL-{client}")));
    let walk = Query::new(&question).plan(Plan::Graph { ef_search: 100 });
    let exact = Query::new(&question).plan(Plan::Exact);
    let (found, scanned) = ([Stage::Walk, Stage::Rescore], [Stage::Scan, Stage::Rescore]);
    let mut scratch = Scratch::default();
    for (query, stages) in [
        (walk.clone(), found),
        (walk.within(&client), found),
        (exact.clone(), scanned),
        (exact.clone().on_all_threads(), scanned),
        (exact.within(&client), scanned),
    ] {
        let mut hits = Vec::new();
        let mut asked = |left| {
            let mut watch = Impatient { left, ended: Vec::new() };
            let ended = index.search_watched(&query, &mut scratch, &mut hits, &mut watch);
            (ended, hits.len(), watch)
        };
        let (ended, hits, watch) = asked(usize::MAX);
        assert!(ended.is_ok() && hits == TOP);
        assert_eq!(watch.ended, [&[Stage::Prepare][..], &stages].concat());
        let times = usize::MAX - watch.left;
        assert!(times > 3, "asked {times} times only");
        for left in 0..times {
            let (ended, hits, watch) = asked(left);
            assert!(matches!(ended, Err(QueryError::Cancelled)), "{left} of {times}");
            assert_eq!(hits, 0);
            assert!(watch.ended.iter().all(|stage| *stage == Stage::Prepare));
        }
    }
}

#[test]
fn a_batch_answers_each_question_as_if_it_were_alone() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut draft, vectors) = draft(2_000, 40, &mut random);
    draft.set_graph(Some(GraphSettings::default()));
    let index = open(draft);
    let questions: Vec<Embedding> =
        vectors.iter().step_by(211).map(|vector| Embedding::new(identity(40), vector.clone())).collect();
    let client = Filter::everything().only(Facet::Client, ["CL-3"]);
    let plans = [Plan::Exact, Plan::Auto, Plan::Exact, Plan::Graph { ef_search: 30 }];
    let queries: Vec<Query<'_>> = (0..)
        .zip(&questions)
        .map(|(number, question)| {
            let query = Query::new(question).top(number * 3).plan(plans[number % plans.len()]);
            if number == 2 { query.within(&client) } else { query }
        })
        .collect();
    let alone: Vec<Vec<Hit>> = queries.iter().map(|query| index.search(query).expect("a search")).collect();
    assert_eq!(index.search_batch(&queries).expect("searches"), alone);
    assert!(index.search_batch(&[]).expect("nothing is asked").is_empty());
    let stranger = Embedding::new(identity(41), vec![1.0; 41]);
    assert!(index.search_batch(&[queries[1].clone(), Query::new(&stranger)]).is_err());
    assert_eq!(index.measure_recall(&[]).expect("a graph"), index.promise().expect("a graph"));
}

#[test]
fn what_is_promised_holds_for_the_questions_that_were_given() {
    const ROWS: usize = 3_000;
    let mut random = ChaCha8Rng::seed_from_u64(11);
    // Questions of no neighbourhood are the hardest: the rows stand in heaps.
    let heaps: Vec<Vec<f32>> = (0..40).map(|_| direction(24, &mut random)).collect();
    let questions: Vec<Embedding> =
        (0..60).map(|_| Embedding::new(identity(24), direction(24, &mut random))).collect();
    let draft = |questions: &[Embedding]| {
        let mut random = ChaCha8Rng::seed_from_u64(12);
        let mut draft = Draft::new(identity(24));
        draft.set_graph(Some(GraphSettings {
            degree: 8,
            ef_construction: 16,
            target_recall: 0.95,
            ..GraphSettings::default()
        }));
        draft.set_questions(questions).expect("questions");
        for number in 0..ROWS {
            let row = Row { id: number.to_string(), ..Row::default() };
            let stray = direction(24, &mut random);
            let near = heaps[number % heaps.len()].iter().zip(&stray).map(|(heap, stray)| heap + 0.2 * stray);
            let vector = unit(near.collect());
            draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        }
        open(draft)
    };
    let promise = |index: &Index| index.promise().expect("sound").expect("a graph");
    let (alone, asked) = (draft(&[]), draft(&questions));
    let (of_rows, of_both) = (promise(&alone), promise(&asked));
    assert_eq!((of_rows.questions, of_both.questions), (0, 60));
    assert!(of_both.curve[0].1 < of_rows.curve[0].1, "{of_both:?} {of_rows:?}");
    for &(ef_search, promised) in &of_both.curve {
        let found =
            |question: &Embedding, plan| rows(&asked.search(&Query::new(question).plan(plan)).expect("hits"));
        let met: usize = questions
            .iter()
            .map(|question| {
                let truth = found(question, Plan::Exact);
                let given = found(question, Plan::Graph { ef_search: ef_search as usize });
                given.iter().filter(|id| truth.contains(id)).count()
            })
            .sum();
        let measured = met as f32 / (10 * questions.len()) as f32;
        assert!(measured >= promised, "{measured} at {ef_search}, promised {promised}");
    }
    assert_eq!(asked.measure_recall(&questions).expect("a graph"), Some(of_both));
    assert_ne!(asked.measure_recall(&[]).expect("a graph"), asked.promise().expect("a graph"));
    assert!(asked.measure_recall(&[Embedding::new(identity(24), vec![0.0; 24])]).is_err());
    let strange = Draft::new(identity(24)).set_questions(&[Embedding::new(identity(25), vec![1.0; 25])]);
    assert!(strange.is_err_and(|error| error.to_string().contains("question 0")));
}

#[test]
fn every_row_can_be_reached_even_with_the_fewest_places_and_among_copies() {
    for (copies, degree) in [(1, 2), (40, 2), (40, 32), (600, 3)] {
        let mut random = ChaCha8Rng::seed_from_u64(copies);
        let mut draft = Draft::new(identity(8));
        draft.set_graph(Some(GraphSettings { degree, ef_construction: 8, ..GraphSettings::default() }));
        let mut vector = Vec::new();
        for number in 0..600 {
            if number % copies == 0 {
                vector = direction(8, &mut random);
            }
            let row = Row { id: number.to_string(), ..Row::default() };
            draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
        }
        open(draft).verify().unwrap_or_else(|error| panic!("{copies} copies, degree {degree}: {error}"));
    }
}

#[test]
fn settings_out_of_range_are_named_together() {
    let mut draft = Draft::new(identity(8));
    let wrong = GraphSettings { degree: 0, ef_construction: 0, alpha: 0.5, ..GraphSettings::default() };
    draft.set_graph(Some(GraphSettings { target_recall: 2.0, ..wrong }));
    let error = draft.finish(Provenance::default()).expect_err("settings").to_string();
    for name in ["degree", "ef_construction", "alpha", "target_recall"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn days_and_ids_narrow_together_with_everything_else() {
    let mut draft = Draft::new(identity(2));
    for (number, date) in
        ["2026-11-01", "2026-11-30", "", "11月3日", "2026-12-01", "2026-11-02"].iter().enumerate()
    {
        let client_id = if number == 5 { "CL-2" } else { "CL-1" }.into();
        let row = Row { id: format!("r{number}"), date: (*date).into(), client_id, ..Row::default() };
        draft.push(&row, &[Passage::whole(&row, &[0.6, 0.8])]).expect("a sound row");
    }
    let index = open(draft);
    index.verify().expect("sound");
    let day = |text: &str| -> Day { text.parse().expect("a day") };
    let november = Filter::everything().days(day("2026-11-01"), day("2026-11-30"));
    let question = Embedding::new(identity(2), vec![1.0, 0.0]);
    let found =
        |filter: Filter| rows(&index.search(&Query::new(&question).within(&filter)).expect("a search"));
    assert_eq!(found(november.clone()), [0, 1, 5]);
    assert_eq!(found(november.clone().only(Facet::Client, ["CL-1"])), [0, 1]);
    assert_eq!(found(november.clone().days(day("2026-11-02"), day("2027-01-01"))), [1, 5]);
    assert_eq!(found(november.clone().ids(["r5", "r4", "r9", ""])), [5]);
    assert_eq!(found(Filter::everything().ids(["r3", "r2"])), [2, 3]);
    assert_eq!(found(Filter::everything().ids(["r3", "r2"]).ids(["r2"])), [2]);
    assert!(found(november.days(day("2027-01-01"), day("2027-02-01"))).is_empty());
    assert!(found(Filter::everything().ids::<String>([])).is_empty());
}

#[test]
fn the_plan_says_what_it_chose_and_what_it_cost() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (mut draft, vectors) = draft(5_000, 16, &mut random);
    draft.set_graph(Some(GraphSettings::default()));
    let index = open(draft);
    let question = Embedding::new(identity(16), vectors[5].clone());
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    let mut ask = |query: Query<'_>| index.search_into(&query, &mut scratch, &mut hits).expect("a search");
    let graph = ask(Query::new(&question));
    assert!(graph.ef_search.is_some() && graph.counters.distances < 5_000, "{graph:?}");
    let exact = ask(Query::new(&question).plan(Plan::Exact));
    assert_eq!((exact.ef_search, exact.counters.distances), (None, 5_000));
    let rare = Filter::everything().only(Facet::Domain, ["rare"]);
    let few = ask(Query::new(&question).within(&rare));
    assert_eq!((few.ef_search, few.counters.distances), (None, 40), "{few:?}");
}

/// BM25F by its definition, over the rows themselves: what the postings must give.
fn by_hand(rows: &[Row], question: &[(u64, f32)]) -> Vec<(u32, f64)> {
    use karute_engine::lexical::tokens::tokens;
    let settings = karute_engine::LexicalSettings::default();
    let fields = |row: &Row| {
        [row.title.clone(), row.content.clone(), row.tags.join("\n"), row.keywords.join("\n")]
            .map(|text| tokens(&text))
    };
    let all: Vec<[Vec<u64>; 4]> = rows.iter().map(fields).collect();
    let mean: [f64; 4] =
        std::array::from_fn(|f| all.iter().map(|row| row[f].len() as f64).sum::<f64>() / rows.len() as f64);
    let mut scored: Vec<(u32, f64)> = (0..rows.len() as u32).map(|row| (row, 0.0)).collect();
    let mut most = 0.0;
    for &(token, weight) in question {
        let holding = all.iter().filter(|row| row.iter().any(|field| field.contains(&token))).count() as f64;
        let idf = (1.0 + (rows.len() as f64 - holding + 0.5) / (holding + 0.5)).ln();
        most += f64::from(weight) * idf;
        for (score, row) in scored.iter_mut().zip(&all) {
            let sum: f64 = (0..4)
                .map(|f| {
                    let count = row[f].iter().filter(|found| **found == token).count() as f64;
                    let b = f64::from(settings.b[f]);
                    f64::from(settings.weight[f]) * count
                        / (1.0 - b + b * row[f].len() as f64 / mean[f].max(1e-6))
                })
                .sum();
            score.1 += f64::from(weight) * idf * sum / (f64::from(settings.k1) + sum);
        }
    }
    scored.retain(|(_, score)| *score > 0.0);
    scored.iter_mut().for_each(|(_, score)| *score /= most);
    scored.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scored
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn keywords_rank_rows_as_the_definition_of_bm25f_does(
        texts in proptest::collection::vec(("[発熱体温咳abc5 ]{0,6}", "[発熱体温咳血圧はの。abc120mg/ ]{0,40}", "[発咳a]{0,2}"), 1..30),
        question in "[発熱体温咳血圧abc5 ]{1,12}",
        top in 1usize..12,
    ) {
        let rows: Vec<Row> = texts.iter().enumerate().map(|(number, (title, content, tag))| Row {
            id: format!("{number:03}"),
            domain: ["a", "b"][number % 2].into(),
            title: title.clone(),
            content: content.clone(),
            tags: vec![tag.clone()],
            ..Row::default()
        }).collect();
        let mut draft = Draft::new(Identity::new("test", "none", 4));
        for row in &rows {
            draft.push(row, &[]).expect("a sound row");
        }
        let index = Index::from_slice(&draft.finish(Provenance::default()).expect("a draft").to_bytes()).expect("sound");
        index.verify().expect("sound");
        let words = karute_engine::lexical::tokens::counted(&question);
        let expected = by_hand(&rows, &words);
        let found = index.keyword_search(&words, top, None).expect("sound").expect("words");
        prop_assert_eq!(found.len(), expected.len().min(top));
        for (hit, (_, score)) in found.iter().zip(&expected) {
            // Equal but for the rounding of a posting to 16 bits.
            prop_assert!((f64::from(hit.score) - score).abs() < 2e-4, "{} and {score}", hit.score);
        }
        let only = Filter::everything().only(Facet::Domain, ["b"]);
        let within = index.keyword_search(&words, rows.len(), Some(&only)).expect("sound").expect("words");
        let allowed: Vec<u32> = expected.iter().map(|(row, _)| *row).filter(|row| row % 2 == 1).collect();
        let mut found: Vec<u32> = within.iter().map(|hit| hit.row).collect();
        found.sort_unstable();
        let mut allowed_sorted = allowed;
        allowed_sorted.sort_unstable();
        prop_assert_eq!(found, allowed_sorted);
    }
}

#[test]
fn a_draft_in_files_gives_the_bytes_of_one_in_memory_and_leaves_no_file() {
    let home = tempfile::tempdir().expect("a directory");
    let fill = |mut draft: Draft| {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        draft.set_graph(Some(GraphSettings { degree: 8, ..GraphSettings::default() }));
        for number in 0..300 {
            let content = format!("記録{number}。体温36.{}℃、dose {}mg。", number % 10, number % 7);
            let row = Row { id: format!("{number}"), title: "訪問".into(), content, ..Row::default() };
            let vector = direction(20, &mut random);
            let passages: &[Passage<'_>] = &[Passage::whole(&row, &vector)];
            draft.push(&row, if number % 9 == 0 { &[] } else { passages }).expect("a sound row");
        }
        draft.finish(Provenance::default()).expect("a draft").to_bytes()
    };
    for precision in Precision::ALL {
        let made = |mut draft: Draft| {
            draft.set_precision(precision).expect("an empty draft");
            fill(draft)
        };
        let spooled = Draft::spooled(identity(20), home.path()).expect("room");
        assert!(made(spooled) == made(Draft::new(identity(20))), "{precision:?}");
    }
    assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 0);
    assert!(Draft::spooled(identity(20), &home.path().join("nowhere")).is_err());
}
