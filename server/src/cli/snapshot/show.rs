//! The verbs that only look.

use std::time::Instant;

use karute_engine::{Diff, Embedding, Facet, Index, Promise, Store};
use serde_json::{Value, json};

use super::super::{Outcome, print_json};
use crate::config::Value as _;
use crate::retrieve::gate::Gate;

pub(super) fn list(store: &Store, json: bool) -> Outcome {
    let listed = store.list()?;
    if json {
        let line = |listed: &karute_engine::Listed| match &listed.index {
            Ok(index) => json!({
                "id": listed.id.to_string(), "current": listed.current, "pinned": listed.pinned, "rows": index.len(),
                "bytes": index.file_length(), "built_at": index.provenance().built_at,
                "source": index.provenance().source,
            }),
            Err(error) => json!({
                "id": listed.id.to_string(), "current": listed.current, "pinned": listed.pinned,
                "error": error.to_string(),
            }),
        };
        return print_json(&listed.iter().map(line).collect::<Vec<Value>>());
    }
    if listed.is_empty() {
        say!("the store {} holds no snapshot yet: run `karute sync`", store.directory().display())?;
    }
    for listed in &listed {
        let mark = match (listed.current, listed.pinned) {
            (true, _) => '*',
            (false, true) => 'p',
            (false, false) => ' ',
        };
        match &listed.index {
            Ok(index) => {
                let provenance = index.provenance();
                say!(
                    "{mark} {}  {:>7} rows  {:>10} bytes  {}  {}",
                    listed.id.short(),
                    index.len(),
                    index.file_length(),
                    provenance.built_at,
                    provenance.source
                )?;
            }
            Err(error) => say!("{mark} {}  unusable: {error}", listed.id.short())?,
        }
    }
    Ok(())
}

pub(super) fn inspect(index: &Index, forced: bool, gate: &Gate, json: bool) -> Outcome {
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
            "vectors": index.precision(), "words": index.lexical_settings()?, "rows": index.len(), "passages": index.passages(), "clients": clients, "terms": index.terms().len(),
            "domains": domains, "source_types": kinds, "bytes": index.file_length(), "provenance": provenance,
            "recall": index.promise()?, "gate": gate, "forced": forced || provenance.forced,
            "sections": index.sections().iter().map(section).collect::<Vec<_>>(), "report": report,
        }));
    }
    say!("snapshot   {}", index.id())?;
    say!("embedding  {}", index.identity())?;
    say!("vectors    {}", index.precision().name())?;
    if let Some(words) = index.lexical_settings()? {
        say!("words      {}", words.show())?;
    }
    say!("rows       {} ({} passages, {clients} clients)", index.len(), index.passages())?;
    say!("terms      {}", index.terms().len())?;
    say!(
        "source     {} ({} rows, {} quarantined)",
        provenance.source,
        provenance.rows_read,
        provenance.rows_quarantined
    )?;
    say!("built      {} by {} ({})", provenance.built_at, provenance.builder, index.builder())?;
    say!("forced     {}", if forced || provenance.forced { "yes, past the publish guard" } else { "no" })?;
    say!("parent     {}", if provenance.parent.is_empty() { "none" } else { &provenance.parent })?;
    for (name, values) in [("domains", domains), ("kinds", kinds)] {
        let values: Vec<String> = values.iter().map(|(value, rows)| format!("{value} {rows}")).collect();
        say!("{name:<10} {}", values.join(", "))?;
    }
    match index.promise()? {
        Some(promise) => {
            say!("recall     {}", promised(&promise))?;
            let curve: Vec<String> =
                promise.curve.iter().map(|(ef_search, recall)| format!("{ef_search}: {recall:.4}")).collect();
            let given = match promise.questions {
                0 => String::new(),
                questions => format!(" and on {questions} given questions, the smaller of both"),
            };
            say!("  by ef_search, on {} of its rows{given}: {}", promise.queries, curve.join(", "))?;
        }
        None => say!("recall     1 (so few rows are searched exactly)")?,
    }
    say!("gate       {} (an answer from a probability of {})", gate.origin, gate.threshold)?;
    say!("sections")?;
    for entry in index.sections() {
        let name = entry.section().map_or("(unknown)", |section| section.name());
        say!("  {name:<12} {:>10} bytes at {}", entry.length, entry.offset)?;
    }
    Ok(())
}

fn promised(promise: &Promise) -> String {
    match promise.ef_search {
        Some(ef_search) => {
            format!("at least {} of the 10 nearest, with ef_search {ef_search}", promise.target)
        }
        None => format!("no ef_search that was tried reaches {} of the 10 nearest", promise.target),
    }
}

/// Verifies a snapshot, and with `recall`, the questions that were given for it, its promise.
pub(super) fn verify(index: &Index, recall: Option<Vec<Embedding>>, json: bool) -> Outcome {
    let began = Instant::now();
    let verified = index.verify()?;
    let seconds = began.elapsed().as_secs_f64();
    let stated = index.promise()?;
    let measured = recall.as_ref().map(|questions| index.measure_recall(questions)).transpose()?.flatten();
    if recall.is_some() && stated != measured {
        let given = stated.as_ref().filter(|promise| promise.questions > 0).map_or(String::new(), |promise| {
            let read = recall.as_ref().map_or(0, Vec::len);
            format!(
                ". It was built with {} questions, KARUTE_RECALL_QUESTIONS names {read}: they must be the same",
                promise.questions
            )
        });
        return Err(format!(
            "the recall measured now is {measured:?}, but the snapshot states {stated:?}{given}"
        )
        .into());
    }
    if json {
        return print_json(
            &json!({ "id": index.id().to_string(), "verified": verified, "seconds": seconds, "recall": measured }),
        );
    }
    say!(
        "{} is sound: {} rows, {} passages, {} bytes read in {seconds:.3} s",
        index.id(),
        verified.rows,
        verified.passages,
        verified.bytes
    )?;
    if recall.is_some() {
        let measured = measured.as_ref().map_or("every search is exact".into(), promised);
        say!("recall measured again, as stated: {measured}")?;
    }
    Ok(())
}

/// Most ids that a diff for people lists of each kind; `--json` lists all.
const SHOWN: usize = 20;

pub(super) fn diff(old: &Index, new: &Index, json: bool) -> Outcome {
    let diff = karute_engine::diff(old, new)?;
    if json {
        return print_json(&json!({
            "from": old.id().to_string(), "to": new.id().to_string(),
            "added": diff.added, "removed": diff.removed, "changed": diff.changed,
        }));
    }
    let Diff { added, removed, changed } = diff;
    say!("{} added, {} removed, {} changed", added.len(), removed.len(), changed.len())?;
    let changed = changed.iter().map(|row| format!("~ {} ({})", row.id, row.fields.join(", ")));
    let lists: [Vec<String>; 3] = [
        added.iter().map(|id| format!("+ {id}")).collect(),
        removed.iter().map(|id| format!("- {id}")).collect(),
        changed.collect(),
    ];
    for list in lists {
        for line in list.iter().take(SHOWN) {
            say!("{line}")?;
        }
        if list.len() > SHOWN {
            say!("  ... and {} more (--json lists them)", list.len() - SHOWN)?;
        }
    }
    Ok(())
}
