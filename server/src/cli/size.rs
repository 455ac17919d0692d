//! `karute size`: what machine holds so many records and so many searches a second, and what answers cost at most.
//!
//! Figures measured on 2026-11-26 on two cores of a Sapphire Rapids machine, the driver beside the server (`.ci/chaos load`):
//! 2.1 ms of a core for a search up to 20,000 rows, 4.7 ms at 100,000 (512 dimensions, sign-in and audit among it); 30 MB at
//! rest, and the snapshot where all of it is read. Before the p99 of a search passed 50 ms, it held 800, 600 and 100 a second at
//! 3,200, 20,000 and 100,000 rows.

use clap::Args;
use karute_sync::generate::Usage;
use karute_sync::models::Models;
use serde::Serialize;

use super::{Outcome, print_json};
use crate::config::Settings;

/// Milliseconds of a core that a search takes whatever the number of rows, and for each row beyond [`FLAT_ROWS`].
const SEARCH_MS: f64 = 2.1;
const FLAT_ROWS: f64 = 20_000.0;
const ROW_MS: f64 = 3.25e-5;
/// Numbers that an exact search reads in a second of a core; beyond so many rows a graph is searched in its place.
const SCANNED: f64 = 15e9;
const EXACT_ROWS: f64 = 10_000.0;
/// Bytes of a row besides its vector: text, postings, graph.
const ROW_BYTES: f64 = 700.0;
/// Bytes of the program at rest.
const REST_BYTES: f64 = 30.0 * 1024.0 * 1024.0;
/// Searches a second that an instance of two cores held, by rows.
const HELD: [(f64, f64); 3] = [(3_200.0, 800.0), (20_000.0, 600.0), (100_000.0, 100.0)];
/// What the manifests give an instance, bytes: memory, of which the store may take so much.
const INSTANCE_BYTES: u64 = 2 << 30;
const STORE_BYTES: u64 = 1 << 30;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Records.
    #[arg(long, default_value_t = 3_200)]
    rows: u32,
    /// Numbers in a vector.
    #[arg(long, default_value_t = 3_072)]
    dims: u32,
    /// Searches and questions a second, at the busiest moment.
    #[arg(long, default_value_t = 10.0)]
    rps: f64,
    /// Answers by a model in a month.
    #[arg(long, default_value_t = 1_000)]
    answers: u32,
}

/// What is needed.
#[derive(Debug, PartialEq, Serialize)]
struct Size {
    /// The snapshot, bytes.
    snapshot_bytes: u64,
    /// Memory of an instance, bytes: two snapshots while one takes the other's place, and the caches.
    memory_bytes: u64,
    /// Milliseconds of a core for a search.
    search_ms: f64,
    /// Searches a second that one instance of two cores holds.
    searches_per_second: f64,
    /// Instances of two cores.
    instances: u64,
    /// Yen that the answers of a month cost at most, and the model.
    most_yen_a_month: f64,
    model: String,
    prices_of: String,
}

/// Searches a second that one instance holds over so many rows: between what was measured, and beyond it, on a line of powers.
fn held(rows: f64) -> f64 {
    let (from, to) = match HELD.iter().position(|(measured, _)| rows < *measured) {
        Some(0) => return HELD[0].1,
        Some(at) => (HELD[at - 1], HELD[at]),
        None => (HELD[HELD.len() - 2], HELD[HELD.len() - 1]),
    };
    let slope = (to.1 / from.1).ln() / (to.0 / from.0).ln();
    from.1 * (rows / from.0).powf(slope)
}

fn size(settings: &Settings, options: &Options) -> Result<Size, Box<dyn std::error::Error>> {
    let (rows, dims) = (f64::from(options.rows), f64::from(options.dims));
    // A number as it was embedded, and one byte as it is searched.
    let number = 1.0 + settings.vectors.bytes() as f64;
    let snapshot = rows * (number * dims + ROW_BYTES);
    let caches = if settings.cache { 3.0 * settings.cache_bytes as f64 } else { 0.0 };
    let scanned = if rows <= EXACT_ROWS { rows * dims / SCANNED * 1e3 } else { 0.0 };
    let search_ms = SEARCH_MS + (rows - FLAT_ROWS).max(0.0) * ROW_MS + scanned;
    // An exact search over wide vectors costs more than those that were measured.
    let held = held(rows) * SEARCH_MS / (SEARCH_MS + scanned);
    let models = Models::load(settings.models.as_deref())?;
    let model = models.generation(&settings.generation_model)?;
    let usage = Usage {
        input_tokens: settings.prompt_tokens as u64,
        output_tokens: u64::from(settings.max_output_tokens),
        ..Usage::default()
    };
    let yen = model.cost(&usage).usd() * settings.usd_jpy * f64::from(options.answers);
    Ok(Size {
        snapshot_bytes: snapshot as u64,
        memory_bytes: (REST_BYTES + 2.0 * snapshot + caches) as u64,
        search_ms,
        searches_per_second: held,
        instances: (options.rps / held).ceil().max(1.0) as u64,
        most_yen_a_month: yen,
        model: model.name.clone(),
        prices_of: models.as_of.clone(),
    })
}

pub(super) fn run(settings: &Settings, options: &Options, json: bool) -> Outcome {
    let size = size(settings, options)?;
    if json {
        return print_json(&size);
    }
    let megabytes = |bytes: u64| bytes >> 20;
    say!("{} records of {} dimensions:", options.rows, options.dims)?;
    say!("  snapshot    {} MB on the disk", megabytes(size.snapshot_bytes))?;
    say!(
        "  memory      {} MB for an instance, caches full and a snapshot being swapped",
        megabytes(size.memory_bytes)
    )?;
    say!(
        "  a search    {:.1} ms of a core; an instance of two cores holds {:.0} a second",
        size.search_ms,
        size.searches_per_second
    )?;
    say!("  instances   {} for {} a second", size.instances, options.rps)?;
    if size.memory_bytes > INSTANCE_BYTES || 2 * size.snapshot_bytes > STORE_BYTES {
        say!(
            "  too large   for the 2Gi of memory and the 1Gi of /data in deploy/cloud-run and deploy/terraform: raise both, or \
             KARUTE_VECTORS=f16"
        )?;
    }
    say!(
        "  answers     at most {:.0} yen a month for {} by {} (prices of {}), whatever they say",
        size.most_yen_a_month,
        options.answers,
        size.model,
        size.prices_of
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn more_rows_need_more_and_more_requests_need_more_instances() {
        let settings = Sources::none().load().expect("defaults").settings;
        let of =
            |rows, rps| size(&settings, &Options { rows, dims: 3_072, rps, answers: 1_000 }).expect("a size");
        let (small, large) = (of(3_200, 10.0), of(100_000, 1_000.0));
        assert!(small.memory_bytes < 300 << 20 && small.instances == 1, "{small:?}");
        assert!(
            large.memory_bytes > 2 << 30 && large.instances > 2 && large.search_ms > small.search_ms,
            "{large:?}"
        );
        let held = |rows| of(rows, 1.0).searches_per_second;
        assert!((held(100_000) - 100.0).abs() < 1.0 && (held(20_000) - 600.0).abs() < 1.0);
        assert!(held(3_200) < 800.0 && held(1_000_000) < 20.0, "{} {}", held(3_200), held(1_000_000));
        assert_eq!(of(100_000, 250.0).instances, 3);
        assert!(small.most_yen_a_month > 100.0 && small.most_yen_a_month < 5_000.0);
    }
}
