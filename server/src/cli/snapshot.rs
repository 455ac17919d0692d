//! `karute snapshot`: look at what the store holds, and bring it to a bucket and back.

use std::time::Instant;

use clap::Subcommand;
use karute_engine::{Facet, Index, Store};
use serde_json::{Value, json};

use super::{Outcome, bucket, print_json};
use crate::config::Settings;

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Every snapshot in the store.
    List,
    /// What a snapshot holds and where it came from.
    Inspect {
        /// The snapshot's id or its beginning; the current one if left out.
        id: Option<String>,
    },
    /// Read a snapshot whole and check every byte of it.
    Verify {
        /// The snapshot's id or its beginning; the current one if left out.
        id: Option<String>,
    },
    /// Upload a snapshot to the bucket of KARUTE_BUCKET and make it current there.
    Push {
        /// The snapshot's id or its beginning; the current one if left out.
        id: Option<String>,
    },
    /// Download what is current in the bucket of KARUTE_BUCKET, verify it and make it current here.
    Pull,
}

pub(super) fn run(settings: &Settings, verb: Verb, json: bool) -> Outcome {
    let store = &Store::open(&settings.data_dir)?;
    match verb {
        Verb::List => list(store, json),
        Verb::Inspect { id } => inspect(&named(store, id)?, json),
        Verb::Verify { id } => verify(&named(store, id)?, json),
        Verb::Push { id } => bucket::push(settings, store, named(store, id)?.id(), json),
        Verb::Pull => bucket::pull(settings, store, json),
    }
}

/// The snapshot of this id, or the current one. Never a stand-in for a current one that is damaged.
fn named(store: &Store, id: Option<String>) -> Result<Index, Box<dyn std::error::Error>> {
    match id {
        Some(id) => Ok(store.find(&id)?),
        None => {
            let opened = store.current()?;
            match opened.skipped.first() {
                None => Ok(opened.index),
                Some(skipped) => Err(format!("{}: {}", skipped.path.display(), skipped.reason).into()),
            }
        }
    }
}

fn list(store: &Store, json: bool) -> Outcome {
    let listed = store.list()?;
    if json {
        let line = |listed: &karute_engine::Listed| match &listed.index {
            Ok(index) => json!({
                "id": listed.id.to_string(), "current": listed.current, "rows": index.len(),
                "bytes": index.file_length(), "built_at": index.provenance().built_at,
                "source": index.provenance().source,
            }),
            Err(error) => json!({
                "id": listed.id.to_string(), "current": listed.current, "error": error.to_string(),
            }),
        };
        return print_json(&listed.iter().map(line).collect::<Vec<Value>>());
    }
    if listed.is_empty() {
        println!("the store {} holds no snapshot yet: run `karute sync`", store.directory().display());
    }
    for listed in &listed {
        let mark = if listed.current { '*' } else { ' ' };
        match &listed.index {
            Ok(index) => {
                let provenance = index.provenance();
                println!(
                    "{mark} {}  {:>7} rows  {:>10} bytes  {}  {}",
                    listed.id.short(),
                    index.len(),
                    index.file_length(),
                    provenance.built_at,
                    provenance.source
                );
            }
            Err(error) => println!("{mark} {}  unusable: {error}", listed.id.short()),
        }
    }
    Ok(())
}

fn inspect(index: &Index, json: bool) -> Outcome {
    let counts = |facet| -> Vec<(String, u32)> {
        index.facet_values(facet).map(|(value, rows)| (value.to_owned(), rows)).collect()
    };
    let (domains, kinds) = (counts(Facet::Domain), counts(Facet::SourceType));
    let clients = index.facet_values(Facet::Client).count();
    let provenance = index.provenance();
    if json {
        let report: Value = serde_json::from_str(index.report()?)?;
        let section = |entry: &karute_engine::snapshot::header::Entry| {
            json!({
                "kind": entry.kind, "name": entry.section().map(|section| section.name()),
                "offset": entry.offset, "bytes": entry.length,
            })
        };
        return print_json(&json!({
            "id": index.id().to_string(), "identity": index.identity(), "builder": index.builder(),
            "rows": index.len(), "passages": index.passages(), "clients": clients, "terms": index.terms().len(),
            "domains": domains, "source_types": kinds, "bytes": index.file_length(), "provenance": provenance,
            "sections": index.sections().iter().map(section).collect::<Vec<_>>(), "report": report,
        }));
    }
    println!("snapshot   {}", index.id());
    println!("embedding  {}", index.identity());
    println!("rows       {} ({} passages, {clients} clients)", index.len(), index.passages());
    println!("terms      {}", index.terms().len());
    println!(
        "source     {} ({} rows, {} quarantined)",
        provenance.source, provenance.rows_read, provenance.rows_quarantined
    );
    println!("built      {} by {} ({})", provenance.built_at, provenance.builder, index.builder());
    println!("parent     {}", if provenance.parent.is_empty() { "none" } else { &provenance.parent });
    for (name, values) in [("domains", domains), ("kinds", kinds)] {
        let values: Vec<String> = values.iter().map(|(value, rows)| format!("{value} {rows}")).collect();
        println!("{name:<10} {}", values.join(", "));
    }
    println!("sections");
    for entry in index.sections() {
        let name = entry.section().map_or("(unknown)", |section| section.name());
        println!("  {name:<12} {:>10} bytes at {}", entry.length, entry.offset);
    }
    Ok(())
}

fn verify(index: &Index, json: bool) -> Outcome {
    let began = Instant::now();
    let verified = index.verify()?;
    let seconds = began.elapsed().as_secs_f64();
    if json {
        return print_json(
            &json!({ "id": index.id().to_string(), "verified": verified, "seconds": seconds }),
        );
    }
    println!(
        "{} is sound: {} rows, {} passages, {} bytes read in {seconds:.3} s",
        index.id(),
        verified.rows,
        verified.passages,
        verified.bytes
    );
    Ok(())
}
