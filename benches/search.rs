//! What a question costs: embedding it, opening a snapshot, searching it.

#![expect(clippy::expect_used, reason = "a bench that cannot go on should say where")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use karute_engine::{Draft, Embedding, Index, Passage, Provenance, Query, Row};
use karute_sync::embed::Embedder;
use karute_sync::lexical::Lexical;

const ROWS: usize = 3_200;

/// Distinct short records; what they say does not matter to the clock.
fn text(number: usize) -> String {
    format!("{}番の利用者、体温{}.{}℃、血圧{}/80。", number, 35 + number % 5, number % 10, 100 + number % 60)
}

fn snapshot(lexical: &Lexical) -> Vec<u8> {
    let mut draft = Draft::new(lexical.identity().clone());
    for number in 0..ROWS {
        let row = Row { id: format!("KB_{number}"), content: text(number), ..Row::default() };
        let vector = lexical.vector(&row.content).expect("words");
        draft.push(&row, &[Passage::whole(&row, &vector)]).expect("a sound row");
    }
    draft.finish(Provenance::default()).expect("a sound draft").to_bytes()
}

fn bench(criterion: &mut Criterion) {
    let lexical = Lexical::default();
    let bytes = snapshot(&lexical);
    let index = Index::from_slice(&bytes).expect("a snapshot");
    let question = text(1_234);
    let vector = lexical.vector(&question).expect("words");
    let embedding = Embedding::new(lexical.identity().clone(), vector);

    criterion.bench_function("embed a question (karute-lexical)", |bencher| {
        bencher.iter(|| lexical.vector(black_box(&question)));
    });
    criterion.bench_function("exact search, 3200 x 512, top 10", |bencher| {
        bencher.iter(|| index.search(&Query::new(black_box(&embedding))));
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
