//! hnsw_rs by itself: its own build, search, dump and reload.

use hnsw_rs::api::AnnT;
use hnsw_rs::hnsw::Hnsw;
use hnsw_rs::hnswio::HnswIo;
use serde_json::{Value, json};

use super::cosine::Cosine;
use super::{Data, EF_SEARCH, PASSES, TOP, timed};

/// As [`super::measure`], for hnsw_rs.
pub(crate) fn measure(data: &Data, threads: usize) -> Value {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let rows: Vec<(&[f32], usize)> = data.base.rows().zip(0..).collect();
    let (index, build_s) = timed(|| {
        let index = Hnsw::<f32, Cosine>::new(16, rows.len(), 16, 200, Cosine);
        pool.install(|| index.parallel_insert_slice(&rows));
        index
    });
    let home = tempfile::tempdir().expect("a directory");
    let (name, dump_s) = timed(|| index.file_dump(home.path(), "dump").expect("dumped"));
    let first = data.queries[0].vector();
    let reload = HnswIo::new(home.path(), &name);
    let reloading = || {
        let index = reload.load_hnsw_with_dist::<f32, Cosine>(Cosine).expect("reloaded");
        std::hint::black_box(index.search(first, TOP, 64));
    };
    let ((), reload_s) = timed(reloading);
    println!(
        "built in {build_s:.2} s; dumped in {dump_s:.3} s; reloaded and answered in {:.1} ms",
        reload_s * 1e3
    );
    let bytes: u64 = home
        .path()
        .read_dir()
        .expect("a directory")
        .map(|file| file.expect("a file").metadata().expect("sized").len())
        .sum();
    let mut points = Vec::new();
    for ef_search in EF_SEARCH {
        let mut met = 0;
        let pass = || {
            met = 0;
            for (query, truth) in data.queries.iter().zip(data.truth.rows()) {
                let found = index.search(query.vector(), TOP, ef_search);
                met += found.iter().filter(|hit| truth[..TOP].contains(&(hit.d_id as i32))).count();
            }
        };
        let mut pass = pass;
        let seconds = (0..PASSES).map(|_| timed(&mut pass).1).fold(f64::INFINITY, f64::min);
        let (recall, qps) =
            (met as f64 / (TOP * data.queries.len()) as f64, data.queries.len() as f64 / seconds);
        println!("{:>10}: recall@10 {recall:.4}  {qps:>8.0} queries/s", format!("ef {ef_search}"));
        points.push(json!({ "param": ef_search, "recall": recall, "qps": qps }));
    }
    json!({
        "version": "0.3.5", "build_s": build_s, "open_and_first_query_s": reload_s, "dump_s": dump_s, "bytes": bytes,
        "points": points,
    })
}
