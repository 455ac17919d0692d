//! `karute audit`: whether the audit is whole, and who looked at a client's records.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{plain, print_json, state};
use crate::audit::{Broken, tells_of, verify};
use crate::config::Settings;
use crate::state::Sealed;

/// Exit code of an audit that was tampered with.
const BROKEN: u8 = 13;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Check every chain, and say where one was changed. Exit code 13 if one was.
    Verify(Verify),
    /// Show who looked at a client's records, or everything, as JSON lines in the order of time.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Where a chain stood by the server's log, CHAIN:SEQUENCE:DIGEST: the chain must still hold that link. May be repeated.
    #[arg(long = "anchor", value_name = "CHAIN:SEQUENCE:DIGEST")]
    anchors: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only this client.
    #[arg(long)]
    client: Option<String>,
}

pub(super) async fn run(
    settings: Settings,
    verb: Verb,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let state = state(&settings).await?;
    let (mut links, damage) = match (state.links().await, &verb) {
        (Ok(links), Verb::Export(_)) => (links, Vec::new()),
        (Ok(links), Verb::Verify(_)) => (links, state.damage().await?),
        (Err(error), Verb::Export(_)) => return Err(error.into()),
        // What cannot be read at all is no less broken than what reads otherwise.
        (Err(error), Verb::Verify(_)) => match state.damage().await {
            Ok(damage) if !damage.is_empty() => (Vec::new(), damage),
            _ => (Vec::new(), vec![error.to_string()]),
        },
    };
    match verb {
        Verb::Export(Export { client }) => {
            links.retain(|sealed| client.as_ref().is_none_or(|client| tells_of(&sealed.link, client)));
            links.sort_by_key(|sealed| sealed.link.at);
            for sealed in &links {
                say!("{}", serde_json::to_string(sealed)?)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Verify(Verify { anchors }) => {
            let mut broken = verify(&links, &settings.audit_key);
            for anchor in &anchors {
                let there = |sealed: &Sealed| {
                    format!("{}:{}:{}", sealed.chain, sealed.sequence, sealed.digest) == *anchor
                };
                if !links.iter().any(there) {
                    let (chain, rest) = anchor.split_once(':').ok_or("an anchor is CHAIN:SEQUENCE:DIGEST")?;
                    let sequence = rest.split(':').next().and_then(|text| text.parse().ok()).unwrap_or(-1);
                    broken.push(Broken {
                        chain: chain.to_owned(),
                        sequence,
                        fault: "the log knows it, and it is not there",
                    });
                }
            }
            let chains = links.chunk_by(|a, b| a.chain == b.chain).count();
            if json {
                print_json(
                    &json!({ "chains": chains, "links": links.len(), "broken": broken, "damage": damage }),
                )?;
            } else {
                for told in &damage {
                    say!("the database file is damaged: {}", plain(told))?;
                }
                for place in &broken {
                    say!("chain {} link {}: {}", plain(&place.chain), place.sequence, place.fault)?;
                }
                say!("{} links in {chains} chains, {} places broken", links.len(), broken.len())?;
            }
            Ok(if broken.is_empty() && damage.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(BROKEN)
            })
        }
    }
}
