//! `karute config`: every setting in force.

use clap::Args;
use serde_json::json;

use super::{Outcome, print_json};
use crate::config::{Loaded, Settings};

/// What to show.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print a file for `.env` with every setting at its default and what it means.
    #[arg(long)]
    example: bool,
}

/// Every setting at its default, each behind a `#`, under its meaning.
fn example() -> String {
    let mut text = String::from(
        "# Settings of karute. Copy this file to .env, take the # away before what you change.\n\
         # Made by `karute config --example`.\n",
    );
    for setting in Settings::ALL {
        text.push_str(&format!("\n# {}\n#{}={}\n", setting.meaning, setting.name, setting.default));
    }
    text
}

pub(super) fn run(loaded: &Loaded, options: &Options, json: bool) -> Outcome {
    if options.example {
        return Ok(std::io::Write::write_all(&mut std::io::stdout(), example().as_bytes())?);
    }
    let shown = loaded.settings.shown();
    let settings = Settings::ALL.iter().zip(&shown).zip(&loaded.given);
    if json {
        let settings: Vec<_> = settings
            .map(|((setting, value), given)| {
                json!({
                    "name": setting.name, "aliases": setting.aliases, "value": value, "from": given,
                    "default": setting.default, "meaning": setting.meaning,
                })
            })
            .collect();
        return print_json(&json!({ "settings": settings, "warnings": loaded.warnings }));
    }
    for ((setting, value), given) in settings {
        say!("{}={value}", setting.name)?;
        say!("    {} (from {given}; default: {:?})", setting.meaning, setting.default)?;
    }
    for warning in &loaded.warnings {
        say!("warning: {warning}")?;
    }
    Ok(())
}
