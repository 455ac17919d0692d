//! What a question costs: embedding it, opening a snapshot, searching it exactly, over the graph and under a filter; and
//! what publishing costs.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

mod cosine;

use std::hint::black_box;

use cosine::Cosine;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use hnsw_rs::hnsw::Hnsw;
use karute_engine::{
    Draft, Embedding, Facet, Filter, GraphSettings, Guard, Index, Passage, Plan, Provenance, Query, Row,
    Scratch, Sealed, Store,
};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;

const ROWS: usize = 3_200;

/// Distinct short records; what they say does not matter to the clock.
fn text(number: usize) -> String {
    format!("{}番の利用者、体温{}.{}℃、血圧{}/80。", number, 35 + number % 5, number % 10, 100 + number % 60)
}

fn sealed(lexical: &Lexical) -> Sealed {
    let mut draft = Draft::new(lexical.identity().clone());
    draft.set_graph(Some(GraphSettings::default()));
    for number in 0..ROWS {
        let client_id = format!("CL-{}", number % 2);
        let row = Row { id: format!("KB_{number}"), content: text(number), client_id, ..Row::default() };
        let vector = lexical.vector(&row.content).expect("words");
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
    }
    draft.finish(Provenance::default()).expect("a sound draft")
}

fn bench(criterion: &mut Criterion) {
    let lexical = Lexical::default();
    let sealed = sealed(&lexical);
    let bytes = sealed.to_bytes();
    let index = Index::from_slice(&bytes).expect("a snapshot");
    let question = text(1_234);
    let vector = lexical.vector(&question).expect("words");
    let embedding = Embedding::new(lexical.identity().clone(), vector);

    criterion.bench_function("embed a question (karute-lexical)", |bencher| {
        bencher.iter(|| lexical.vector(black_box(&question)));
    });
    let half = Filter::everything().only(Facet::Client, ["CL-1"]);
    let query = Query::new(&embedding);
    let walk = query.clone().plan(Plan::Graph { ef_search: 64 });
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    for (name, query) in [
        ("exact search, 3200 x 512, top 10", query.clone().plan(Plan::Exact)),
        ("graph search, ef 64", walk.clone()),
        ("graph search, ef 64, half of the rows", walk.within(&half)),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| index.search_into(black_box(&query), &mut scratch, &mut hits));
        });
    }
    // What the graph is measured against.
    let reference = Hnsw::<f32, Cosine>::new(16, ROWS, 16, 200, Cosine);
    for number in 0..ROWS {
        reference.insert((&lexical.vector(&text(number)).expect("words"), number));
    }
    criterion.bench_function("graph search, ef 64, hnsw_rs itself", |bencher| {
        bencher.iter(|| reference.search(black_box(embedding.vector()), 10, 64));
    });
    let batch: Vec<Query<'_>> = (0..64).map(|_| query.clone().plan(Plan::Exact)).collect();
    criterion.bench_function("64 exact searches in one pass", |bencher| {
        bencher.iter(|| index.search_batch(black_box(&batch)));
    });
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    store.publish(&sealed, &Guard::open()).expect("published");
    criterion.bench_function("open the current snapshot", |bencher| {
        bencher.iter(|| store.current());
    });
    criterion.bench_function("publish (into an empty store)", |bencher| {
        let fresh = || {
            let home = tempfile::tempdir().expect("a directory");
            (Store::open(home.path()).expect("a store"), home)
        };
        bencher.iter_batched(
            fresh,
            |(store, home)| {
                store.publish(&sealed, &Guard::open()).expect("published");
                home
            },
            BatchSize::PerIteration,
        );
    });
    criterion.bench_function("read a row", |bencher| {
        bencher.iter(|| index.row(black_box(1_234)));
    });
    criterion.bench_function("verify 3200 x 512", |bencher| {
        bencher.iter(|| index.verify());
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
