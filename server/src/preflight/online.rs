//! What must be asked: the disk, the database, the spreadsheet, the models, the bucket.

use std::time::Duration;

use karute_engine::{Store, StoreError};
use karute_sync::bucket::Bucket;
use karute_sync::google::{GoogleError, drive, monitoring, scope};
use karute_sync::job::looked_at;
use karute_sync::models::Models;
use karute_sync::source::Source;
use karute_sync::vertex;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Check;
use crate::cli::NIGHTLY;
use crate::config::Settings;
use crate::money::day;
use crate::setup;
use crate::state::Database;

/// What the names of karute's alert policies begin with.
const ALERTS: &str = "Karute";
/// How many there are in deploy/monitoring/alert-policies.
const POLICIES: usize = 16;
/// A clock that is so far off is worth a word.
const ODD: time::Duration = time::Duration::seconds(5);
/// Google takes no token of a clock that is so far off.
const WRONG: time::Duration = time::Duration::minutes(1);
/// How long anything may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// A backup that is older than this is worth a word.
const BACKUP_WITHIN: time::Duration = time::Duration::days(8);
/// As is a copy of the state, which is made each night.
const STATE_WITHIN: time::Duration = time::Duration::hours(50);
/// A snapshot that is older than this, where records come from a spreadsheet.
const FRESH_WITHIN: time::Duration = time::Duration::hours(26);

/// Checks that ask others. None of them costs anything.
pub async fn online(settings: &Settings) -> Vec<Check> {
    let mut checks =
        vec![snapshot(settings), memory(settings), retirement(settings), database(settings).await];
    checks.push(clock(settings).await);
    checks.extend(models(settings).await);
    checks.extend(spreadsheet(settings).await);
    checks.extend(state_copies(settings));
    checks.push(bucket(settings).await);
    checks.push(alerts(settings).await);
    checks
}

fn snapshot(settings: &Settings) -> Check {
    let name = "snapshot";
    let current =
        Store::open(&settings.data_dir).and_then(|store| store.current().map(|opened| (opened.index, store)));
    let (index, store) = match current {
        Ok(found) => found,
        Err(StoreError::Empty { .. }) if settings.bucket.is_some() => {
            return Check::pass(name, "none is here yet: a start pulls the bucket's");
        }
        Err(error) => return Check::fail(name, error.to_string(), "karute sync, or karute snapshot pull"),
    };
    let read = looked_at(&index, &store).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let age = OffsetDateTime::now_utc() - read;
    let detail = format!("{} rows, read {} hours ago", index.len(), age.whole_hours());
    match setup::from_sheets(settings) && age > FRESH_WITHIN {
        true => Check::warn(
            name,
            detail,
            "run karute sync by a timer: deploy/systemd or deploy/cloud-run/job.yaml",
        ),
        false => Check::pass(name, detail),
    }
}

/// Bytes of memory that this machine, or this container, has.
fn limit() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let own = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse::<u64>().ok());
    let all = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal"))?.to_owned();
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    });
    own.into_iter().chain(all).min()
}

fn memory(settings: &Settings) -> Check {
    let name = "memory";
    let snapshot = Store::open(&settings.data_dir)
        .and_then(|store| store.current())
        .map_or(0, |o| o.index.file_length());
    // Two snapshots while one takes the other's place, three caches, and what requests take.
    let needed = 2 * snapshot + if settings.cache { 3 * settings.cache_bytes } else { 0 } + (128 << 20);
    let megabytes = |bytes: u64| bytes >> 20;
    match limit() {
        None => Check::warn(name, "nobody says how much there is", "see that there is enough"),
        Some(limit) if needed > limit / 10 * 8 => Check::fail(
            name,
            format!("{} MB may be needed, {} MB are there", megabytes(needed), megabytes(limit)),
            "a lower KARUTE_CACHE_BYTES, or more memory",
        ),
        Some(limit) => {
            Check::pass(name, format!("{} of {} MB may be needed", megabytes(needed), megabytes(limit)))
        }
    }
}

fn retirement(settings: &Settings) -> Check {
    let name = "model";
    if !setup::is_paid(settings) {
        return Check::pass(name, "answers are made on this machine, or by a service of one's own");
    }
    let models = match Models::load(settings.models.as_deref()) {
        Ok(models) => models,
        Err(error) => return Check::fail(name, error.to_string(), "KARUTE_MODELS"),
    };
    let today = day(OffsetDateTime::now_utc());
    match models.generation(&settings.generation_model) {
        Err(error) => Check::fail(name, error.to_string(), "VERTEX_AI_GENERATION_MODEL"),
        Ok(model) => match &model.retires {
            Some(retires) if *retires <= today => Check::fail(
                name,
                format!("{} was retired on {retires}", model.name),
                "VERTEX_AI_GENERATION_MODEL=gemini-3.5-flash-lite",
            ),
            Some(retires) => Check::warn(
                name,
                format!("{} will be retired on {retires}", model.name),
                "VERTEX_AI_GENERATION_MODEL=gemini-3.5-flash-lite",
            ),
            None => Check::pass(name, format!("{}, table of {}", model.name, models.as_of)),
        },
    }
}

async fn database(settings: &Settings) -> Check {
    let name = "database";
    let opening = Database::open(&settings.database, &settings.data_dir);
    match tokio::time::timeout(PATIENCE, opening).await {
        Ok(Ok(state)) => {
            Check::pass(name, format!("{} answers, its tables are of this version", state.place()))
        }
        Ok(Err(error)) => Check::fail(name, error.to_string(), "DATABASE_URL, and the network between"),
        Err(_) => Check::fail(name, "it does not answer", "DATABASE_URL, and the network between"),
    }
}

/// Whether each model of Google's can be asked: by a call that costs nothing.
async fn models(settings: &Settings) -> Vec<Check> {
    let answers = setup::is_paid(settings).then_some((settings.generation_model.as_str(), false));
    let embeds = setup::embeds_by_vertex(settings).then_some((settings.embedding_model.as_str(), true));
    let mut checks = Vec::new();
    for (model, embeds) in answers.into_iter().chain(embeds) {
        let name = if embeds { "embedding model" } else { "generation model" };
        let mend = "gcloud services enable aiplatform.googleapis.com; roles/aiplatform.user for the account; GCP_PROJECT_ID, \
                    GCP_LOCATION and the model's name";
        let (project, location) = (&settings.gcp_project, &settings.gcp_location);
        let asking = async {
            let client = setup::client(settings, scope::CLOUD)?;
            vertex::count_tokens(&client, project, location, model, embeds).await
        };
        checks.push(match tokio::time::timeout(PATIENCE, asking).await {
            Ok(Ok(())) => Check::pass(name, format!("{model} answers in {location}")),
            // Not every model that embeds counts.
            Ok(Err(GoogleError::Refused { .. })) if embeds => Check::warn(
                name,
                format!("{model} cannot be asked without a cost"),
                "ask a question after the start",
            ),
            Ok(Err(error)) => Check::fail(name, error.to_string(), mend),
            Err(_) => Check::fail(name, "Google did not answer in time", "try again; then the network"),
        });
    }
    checks
}

/// Tokens are refused where the clock is wrong, and days of budgets and questions are others.
async fn clock(settings: &Settings) -> Check {
    let (name, mend) = ("clock", "timedatectl set-ntp true");
    if !setup::from_sheets(settings) && !setup::is_paid(settings) {
        return Check::pass(name, "nobody else's is asked");
    }
    match monitoring::ahead(&settings.google_endpoint).await {
        Ok(ahead) if ahead.abs() > WRONG => {
            Check::fail(name, format!("it is {} s off Google's", ahead.whole_seconds()), mend)
        }
        Ok(ahead) if ahead.abs() > ODD => {
            Check::warn(name, format!("it is {} s off Google's", ahead.whole_seconds()), mend)
        }
        Ok(_) => Check::pass(name, "as Google's"),
        Err(error) => Check::warn(name, error.to_string(), "try again; then the network"),
    }
}

/// Whether somebody is told when it fails.
async fn alerts(settings: &Settings) -> Check {
    let name = "alerts";
    let project = &settings.gcp_project;
    if project.is_empty() {
        let mend = "Prometheus with deploy/monitoring/prometheus-rules.yml: see its page /alerts";
        return Check::warn(name, "without a project of Google's only Prometheus knows", mend);
    }
    let mend = "terraform apply in deploy/terraform, or `gcloud alpha monitoring policies create --policy-from-file=FILE` for each of \
                deploy/monitoring/alert-policies; to look: roles/monitoring.viewer";
    let client = match setup::client(settings, scope::MONITORING) {
        Ok(client) => client,
        Err(error) => return Check::warn(name, error.to_string(), mend),
    };
    match tokio::time::timeout(PATIENCE, monitoring::alerts(&client, project)).await {
        Ok(Ok(found)) => match found.iter().filter(|found| found.starts_with(ALERTS)).count() {
            0 if settings.cloud_run.is_empty() => Check::warn(
                name,
                format!(
                    "project {project} has none of karute's; whether a Prometheus has them only that knows"
                ),
                mend,
            ),
            0 => Check::fail(name, format!("project {project} has none of karute's"), mend),
            count if count < POLICIES => {
                Check::warn(name, format!("{count} of karute's {POLICIES} are on"), mend)
            }
            count => Check::pass(name, format!("{count} of karute's are on")),
        },
        Ok(Err(error)) => Check::warn(name, error.to_string(), mend),
        Err(_) => Check::warn(name, "Google did not answer in time", mend),
    }
}

/// Credentials, API, sharing and columns of the spreadsheet, one by the other; and its backups.
async fn spreadsheet(settings: &Settings) -> Vec<Check> {
    let name = "spreadsheet";
    if !setup::from_sheets(settings) {
        return vec![match () {
            () if setup::is_sample(settings) => Check::fail(
                name,
                "the sample that the program carries is served: its clients are made up",
                "VECTOR_DB_SPREADSHEET_ID=..., KARUTE_WORKBOOK=... or KARUTE_BUCKET=...; or, if it is meant, KARUTE_SOURCE=workbook",
            ),
            () if settings.workbook.is_some() => Check::pass(name, "records come from a workbook"),
            () if settings.bucket.is_some() => Check::pass(name, "records come from the bucket"),
            () => Check::warn(
                name,
                "the sample that the program carries is served, as KARUTE_SOURCE=workbook asks for",
                "VECTOR_DB_SPREADSHEET_ID=...",
            ),
        }];
    }
    // Google's own errors name the cause and what mends it: no credentials, an API that is off, a file that is not shared.
    let mend = "see above: credentials, `gcloud services enable sheets.googleapis.com drive.googleapis.com`, sharing of the file";
    let source = match setup::spreadsheet(settings, scope::READ) {
        Ok(source) => source,
        Err(error) => return vec![Check::fail(name, error.to_string(), mend)],
    };
    let reading = async { source.read(&|_| ()).await.map(|sheets| sheets.knowledge_base.rows.len()) };
    let found = match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(rows)) => Check::pass(name, format!("shared, its columns are right, {rows} rows")),
        Ok(Err(error)) => Check::fail(name, format!("Vector DB connection failed: {error}"), mend),
        Err(_) => Check::fail(name, "Google did not answer in time", "try again; then the network"),
    };
    vec![found, backups(settings).await]
}

/// The nightly copies of a state that is a file.
fn state_copies(settings: &Settings) -> Option<Check> {
    let (name, mend) = ("backups of the state", "karute backup --nightly, by karute-backup.timer");
    if settings.database.reveal().is_some() || !settings.cloud_run.is_empty() {
        return None;
    }
    let copies =
        std::fs::read_dir(settings.data_dir.join(NIGHTLY)).into_iter().flatten().filter_map(Result::ok);
    let written =
        copies.filter_map(|copy| Some(OffsetDateTime::from(copy.metadata().ok()?.modified().ok()?)));
    Some(match written.max().map(|newest| OffsetDateTime::now_utc() - newest) {
        None => Check::warn(name, "there is none", mend),
        Some(age) if age > STATE_WITHIN => {
            Check::warn(name, format!("the newest is {} hours old", age.whole_hours()), mend)
        }
        Some(age) => Check::pass(name, format!("the newest is {} hours old", age.whole_hours())),
    })
}

async fn backups(settings: &Settings) -> Check {
    let (name, mend) =
        ("backups", "karute backup (KARUTE_BACKUP_FOLDER), by karute-backup.timer or the job karute-backup");
    let Ok(id) = setup::spreadsheet_id(settings) else { return Check::warn(name, "no spreadsheet", mend) };
    let client = match setup::client(settings, scope::READ) {
        Ok(client) => client,
        Err(error) => return Check::fail(name, error.to_string(), mend),
    };
    let folder = Some(settings.backup_folder.as_str()).filter(|folder| !folder.is_empty());
    match tokio::time::timeout(PATIENCE, drive::copies(&client, id, folder)).await {
        Ok(Ok(copies)) => {
            let newest = copies
                .iter()
                .filter_map(|copy| OffsetDateTime::parse(&copy.created_time, &Rfc3339).ok())
                .max();
            match newest.map(|newest| OffsetDateTime::now_utc() - newest) {
                None => Check::warn(name, "there is none", mend),
                Some(age) if age > BACKUP_WITHIN => {
                    Check::warn(name, format!("the newest is {} days old", age.whole_days()), mend)
                }
                Some(age) => Check::pass(
                    name,
                    format!("{} copies, the newest {} days old", copies.len(), age.whole_days()),
                ),
            }
        }
        Ok(Err(error)) => {
            Check::warn(name, format!("they cannot be listed: {error}"), "the scope drive.metadata.readonly")
        }
        Err(_) => Check::warn(name, "Google did not answer in time", mend),
    }
}

async fn bucket(settings: &Settings) -> Check {
    let name = "bucket";
    let Some(url) = &settings.bucket else { return Check::pass(name, "none is used") };
    let mend = "KARUTE_BUCKET, the bucket's rights: roles/storage.objectViewer to serve, objectUser to push";
    let bucket = match Bucket::open(url, settings.bucket_endpoint.as_ref()) {
        Ok(bucket) => bucket,
        Err(error) => return Check::fail(name, error.to_string(), mend),
    };
    match tokio::time::timeout(PATIENCE, bucket.look()).await {
        Ok(Ok(seen)) => {
            // A server needs to read alone; whoever runs the job, or pushes, must write.
            let rights = match tokio::time::timeout(PATIENCE, bucket.can_be_written()).await {
                Ok(Ok(true)) => "read and written",
                Ok(Ok(false)) => "read, not written (enough to serve, not for the job)",
                Ok(Err(error)) => return Check::warn(name, error.to_string(), mend),
                Err(_) => return Check::warn(name, "it does not answer", mend),
            };
            match seen.id() {
                Some(id) => Check::pass(name, format!("{url} can be {rights} and has {}", id.short())),
                None => Check::warn(
                    name,
                    format!("{url} can be {rights} but holds no snapshot"),
                    "karute sync --push --first",
                ),
            }
        }
        Ok(Err(error)) => Check::fail(name, error.to_string(), mend),
        Err(_) => Check::fail(name, "it does not answer", mend),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_alerts_are_looked_for_as_there_are() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/monitoring/alert-policies");
        assert_eq!(std::fs::read_dir(folder).expect("a directory").count(), POLICIES);
    }
}
