//! `karute forget`: a client's right to be forgotten.

use std::collections::BTreeSet;

use clap::Args;
use karute_engine::Store;
use karute_sync::forget::{Rebuilt, forget};
use serde_json::json;
use time::OffsetDateTime;

use super::{Outcome, plain, print_json, state};
use crate::audit::{Audit, Seen};
use crate::catalogue::Catalogue;
use crate::config::Settings;
use crate::retrieve::caller::Caller;
use crate::setup;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The client's id, such as CL-00001.
    #[arg(long)]
    client: String,
}

/// What this cannot reach, for whoever must see to it.
const NOT_REACHED: [&str; 8] = [
    "conversations that name the client by the family name alone, or by another name: their owners can remove them",
    "rows of other clients that name this one: search for the name, and change them at their source",
    "other machines: those with this database follow within a minute, those with this bucket after the next push",
    "rows of the spreadsheet or workbook itself: delete them there; until then every sync leaves them out",
    "copies made by `karute backup` and `karute snapshot export`",
    "conversations that were exported to the ChatHistory sheet",
    "snapshots in a bucket: push the new one, and delete the objects of those that were removed",
    "the audit, which says who saw the client's records: it is kept whole",
];

pub(super) async fn run(settings: Settings, Options { client }: Options, json: bool) -> Outcome {
    let store = Store::open(&settings.data_dir)?;
    let state = state(&settings).await?;
    let mut words: BTreeSet<String> = BTreeSet::from([client.clone()]);
    for listed in store.list()? {
        if let Ok(index) = &listed.index {
            let known = Catalogue::of(index)?.clients.into_iter().find(|known| known.id == client);
            for name in known.into_iter().flat_map(|known| [known.name, known.name_kana]) {
                words.insert(name.split_whitespace().collect::<String>());
                words.insert(name);
            }
        }
    }
    words.retain(|word| !word.is_empty());
    // First the audit: whatever happens after it, that it was begun is known.
    let audit = Audit::new(&settings);
    let seen = Seen { action: "forget", clients: vec![client.clone()], ..Seen::default() };
    let link = audit.link(&Caller::operator(), &seen, std::iter::empty(), OffsetDateTime::now_utc());
    audit.keep(&state, link).await?;
    // Then the database: what is being answered meanwhile is not kept, and other instances learn of it.
    state.forget(&client, OffsetDateTime::now_utc()).await?;
    // Conversations before snapshots, from which the names come: so that doing it again finds what is left.
    let words: Vec<String> = words.into_iter().collect();
    let conversations = state.remove_about(&client, &words).await?;
    let rebuilt = forget(&store, &client)?;
    // Vectors are kept by a digest of their text, so whose they are cannot be told: what a snapshot does not hold is
    // computed again.
    let vectors = setup::embedding_cache(&store);
    match std::fs::remove_dir_all(&vectors) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    if json {
        return print_json(&json!({
            "client_id": client,
            "snapshots": rebuilt,
            "conversations": conversations,
            "not_reached": NOT_REACHED,
        }));
    }
    for Rebuilt { removed, replaced_by, rows } in &rebuilt {
        match replaced_by {
            Some(id) => say!("snapshot {removed}: {rows} rows removed; it is {id} now")?,
            None if *rows > 0 => say!("snapshot {removed} held nobody else, so it is gone")?,
            None => say!("snapshot {removed} could not be read, so it is gone")?,
        }
    }
    if rebuilt.is_empty() && conversations == 0 {
        say!(
            "no snapshot and no conversation has a client of this id: if it was mistyped, nobody was forgotten"
        )?;
    }
    say!("{conversations} conversations removed; {} is left out of every sync to come", plain(&client))?;
    for left in NOT_REACHED {
        say!("not reached: {left}")?;
    }
    Ok(())
}
