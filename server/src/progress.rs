//! Showing how far a sync, a push or a pull has come: bars on a terminal, plain log lines elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use karute_sync::job::{Progress, Stage};

/// What a stage works on, for people.
fn units(stage: Stage) -> &'static str {
    match stage {
        Stage::Reading => "rows read",
        Stage::Vectors => "vectors read",
        Stage::Embedding => "rows embedded",
        Stage::Building => "rows indexed",
        Stage::Publishing => "snapshot written",
        Stage::Verifying => "snapshot verified",
        Stage::Uploading => "bytes uploaded",
        Stage::Downloading => "bytes downloaded",
    }
}

/// The progress that suits where standard error goes.
pub(crate) fn for_stderr() -> Box<dyn Progress> {
    if std::io::stderr().is_terminal() { Box::<Bars>::default() } else { Box::<Lines>::default() }
}

#[derive(Default)]
struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Progress for Bars {
    fn begin(&self, stage: Stage, total: Option<u64>) {
        let (bar, template) = match total {
            Some(total) if matches!(stage, Stage::Uploading | Stage::Downloading) => {
                let template = "{msg:>18} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ({elapsed})";
                (ProgressBar::new(total), template)
            }
            Some(total) => (ProgressBar::new(total), "{msg:>18} {wide_bar} {pos}/{len} ({elapsed})"),
            None => (ProgressBar::new_spinner(), "{msg:>18} {spinner} {pos} ({elapsed})"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bar.with_style(style).with_message(units(stage));
        bar.enable_steady_tick(Duration::from_millis(100));
        *self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(bar);
    }

    fn advance(&self, amount: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            bar.inc(amount);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
            bar.finish();
        }
    }
}

#[derive(Default)]
struct Lines {
    stage: Mutex<Option<(Stage, u64, Instant)>>,
}

impl Progress for Lines {
    fn begin(&self, stage: Stage, _total: Option<u64>) {
        *self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) =
            Some((stage, 0, Instant::now()));
    }

    fn advance(&self, amount: u64) {
        if let Some((_, done, _)) = &mut *self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            *done += amount;
        }
    }

    fn finish(&self) {
        let finished = self.stage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some((stage, done, since)) = finished {
            let ms = since.elapsed().as_millis() as u64;
            match done {
                0 => tracing::info!(elapsed_ms = ms, "{}", units(stage)),
                _ => tracing::info!(elapsed_ms = ms, "{done} {}", units(stage)),
            }
        }
    }
}
