//! Looking after the ledger: calls that nobody settled are presumed to have cost the most, and rows are appended to the log
//! spreadsheet.

use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::macros::{format_description, offset};

use crate::app::App;
use crate::error::Failure;
use crate::setup;
use crate::state::{Database, Line, StateError, yen};

/// How often.
const EVERY: Duration = Duration::from_secs(30);
/// How often the audit notes where the chains of other instances end.
const WITNESS_EVERY: Duration = Duration::from_secs(3600);
/// How long an append may take: less than a claim of its rows holds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Columns of the log sheet of the system that karute replaces.
const COLUMNS: usize = 37;

/// Looks after the ledger until the program ends.
pub(crate) async fn watch(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    let (mut anchored, mut witnessed) = (None, Instant::now());
    loop {
        ticks.tick().await;
        // The log goes elsewhere: an end of the audit that stands there cannot be cut off unnoticed.
        let end = app.audit.end().await;
        if let Some((chain, sequence, digest)) = end.filter(|end| anchored.as_ref() != Some(end)) {
            tracing::info!(
                chain,
                sequence,
                digest,
                "the audit stands here: `karute audit verify --anchor` takes it"
            );
            anchored = Some((chain, sequence, digest));
        }
        let Some(state) = app.state() else { continue };
        let now = (app.now)();
        if witnessed.elapsed() >= WITNESS_EVERY {
            witnessed = Instant::now();
            if let Err(error) = app.audit.witness(state, now).await {
                tracing::error!(%error, "the audit does not tell of the chains beside it");
            }
        }
        // No call lasts as long as that: whoever made it has ended without settling it.
        let longest = app.stream_deadline() + app.deadline();
        if let Err(error) = app.money.presume(state, now - longest, now).await {
            tracing::error!(%error, "the ledger was not looked after");
        }
    }
}

/// Appends to the log spreadsheet until the program ends; beside [`watch`], so that a service which hangs holds up nothing else.
pub(crate) async fn export(app: App) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let Some(state) = app.state() else { continue };
        if app.settings.cost_log.is_some()
            && let Err(failure) =
                tokio::time::timeout(PATIENCE, log(&app, state)).await.unwrap_or(Err(Failure::TimedOut))
        {
            tracing::error!(
                reason = failure.detail(),
                "the log spreadsheet lacks rows; they are appended later"
            );
        }
    }
}

/// Appends what has ended to the log spreadsheet. A row may come to stand there twice if Google's answer was lost; its
/// request id shows that.
///
/// # Errors
/// The database; Google. Rows that were not appended are tried again.
pub async fn log(app: &App, state: &Database) -> Result<usize, Failure> {
    let lines = state.claim((app.now)()).await?;
    if lines.is_empty() {
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    let appended = setup::append_costs(&app.settings, &rows).await;
    let at = appended.is_ok().then(|| (app.now)());
    let noted: Result<(), StateError> = state.exported(&lines, at).await;
    appended?;
    noted?;
    Ok(lines.len())
}

/// A moment as the sheet has it: of Japan.
fn moment(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    moment.to_offset(offset!(+9)).format(format).unwrap_or_default()
}

/// A row of the log sheet: its 37 columns by their numbers there.
fn row(line: &Line) -> Vec<String> {
    let mut row = vec![String::new(); COLUMNS];
    let seconds = (line.ended_at - line.began_at).as_seconds_f64().max(0.0);
    let mut put = |column: usize, value: String| {
        if let Some(cell) = row.get_mut(column - 1) {
            *cell = value;
        }
    };
    put(1, moment(line.ended_at));
    put(2, "karute".into());
    put(3, line.state.clone());
    put(4, line.answer_id.clone());
    put(5, line.id.clone());
    put(6, format!("{seconds:.3}"));
    put(7, line.model.clone());
    put(8, line.input_tokens.to_string());
    put(9, (line.output_tokens + line.thought_tokens).to_string());
    put(10, format!("{:.6}", yen(line.input_cost)));
    put(11, format!("{:.6}", yen(line.output_cost)));
    put(12, format!("{:.6}", yen(line.total_cost)));
    put(29, line.kind.clone());
    put(32, moment(line.began_at));
    put(33, moment(line.ended_at));
    put(36, line.owner.clone());
    match (line.state.as_str(), line.corrects) {
        ("presumed", _) => put(37, "料金は上限額による推定".into()),
        (_, true) => put(37, "同じ呼び出しIDの推定行に代わる確定額".into()),
        _ => {}
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_columns_of_the_log_sheet() {
        let moment = OffsetDateTime::UNIX_EPOCH;
        let line = Line {
            id: "call".into(),
            owner: "hanako@example.jp".into(),
            answer_id: "answer".into(),
            kind: "answer".into(),
            model: "model".into(),
            state: "settled".into(),
            reserved: 9_000_000,
            input_cost: 1_250_000,
            output_cost: 500_000,
            total_cost: 1_750_000,
            saved_cost: 0,
            input_tokens: 7,
            cached_tokens: 0,
            output_tokens: 3,
            thought_tokens: 2,
            began_at: moment,
            ended_at: moment + time::Duration::milliseconds(1_500),
            corrects: false,
        };
        let row = row(&line);
        assert_eq!(row.len(), 37);
        assert_eq!(row[0], "1970-01-01 09:00:01");
        assert_eq!(row[4..12], ["call", "1.500", "model", "7", "5", "1.250000", "0.500000", "1.750000"]);
        assert_eq!(row[35], "hanako@example.jp");
    }
}
