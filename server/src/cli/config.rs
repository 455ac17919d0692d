//! `karute config`: every setting in force.

use serde_json::json;

use super::{Outcome, print_json};
use crate::config::{Loaded, Settings};

pub(super) fn run(loaded: &Loaded, json: bool) -> Outcome {
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
