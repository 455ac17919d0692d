//! `karute preflight`: everything that a production needs, checked.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{plain, print_json};
use crate::config::Settings;
use crate::preflight::{Check, Verdict, online, safety};

/// Exit code where something fails.
const FAILED: u8 = 14;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Look at the settings alone: ask no disk, database, spreadsheet or bucket.
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(
    settings: Settings,
    Options { offline }: Options,
    json: bool,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut checks = safety(&settings);
    if !offline {
        checks.extend(online(&settings).await);
    }
    let failed = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if json {
        print_json(&json!({ "failed": failed, "checks": checks }))?;
    } else {
        for Check { name, verdict, detail, mend } in &checks {
            let sign = match verdict {
                Verdict::Pass => "pass",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            say!("{sign}  {name}: {}", plain(detail))?;
            if !mend.is_empty() {
                say!("      mend it: {mend}")?;
            }
        }
        say!("{} checks, {failed} failed", checks.len())?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
