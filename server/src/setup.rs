//! From settings to the source of records and to the embedder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use karute_engine::Store;
use karute_sync::embed::Embedder;
use karute_sync::generate::gemini::Gemini;
use karute_sync::generate::openai::OpenAi;
use karute_sync::generate::{GenerateError, Generator};
use karute_sync::google::rank::Ranker;
use karute_sync::google::{Client, Credentials, GoogleError, Limits, scope, sheets};
use karute_sync::job::{How, Missing, Pass, Publishing};
use karute_sync::lexical::Lexical;
use karute_sync::models::{Models, ModelsError};
use karute_sync::source::Source;
use karute_sync::spreadsheet::Spreadsheet;
use karute_sync::vertex::Vertex;
use karute_sync::workbook::Workbook;

use crate::access::AccessError;
use crate::answer::prompt::{TemplateError, Templates};
use crate::answer::{Answerer, Extractive, Generated};
use crate::config::{AnswererKind, EmbedderKind, Environment, RerankerKind, Settings, SourceKind};
use crate::error::Failure;
use crate::retrieve::gate::Gate;
use crate::retrieve::rerank::Reranker;

/// The settings do not go together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// A setting that another one needs is missing.
    #[error("{wanted} needs {missing}: set it, or {instead}")]
    Missing {
        /// What was asked for.
        wanted: &'static str,
        /// The setting that is missing.
        missing: &'static str,
        /// What to do otherwise.
        instead: &'static str,
    },
    /// A vector longer than the model gives.
    #[error("VERTEX_AI_EMBEDDINGS_DIMENSION is {wanted}, but {model} gives at most {most}")]
    Dimensions {
        /// The model.
        model: String,
        /// What is set.
        wanted: u32,
        /// What it gives.
        most: u32,
    },
    /// The gate that was fitted here.
    #[error("the gate in {path}: {detail}; mend it, or remove it to use the one that ships")]
    Gate {
        /// The file.
        path: String,
        /// What is wrong.
        detail: String,
    },
    /// Questions to measure recall on.
    #[error("the questions of KARUTE_RECALL_QUESTIONS in {path} cannot be read: {source}")]
    Questions {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The table of models.
    #[error(transparent)]
    Models(#[from] ModelsError),
    /// The client for Google's APIs.
    #[error(transparent)]
    Google(#[from] GoogleError),
    /// The rules that a model is given.
    #[error(transparent)]
    Templates(#[from] TemplateError),
    /// A language model.
    #[error(transparent)]
    Model(#[from] GenerateError),
    /// Who may come in.
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// Whether records come from a spreadsheet.
pub fn from_sheets(settings: &Settings) -> bool {
    match settings.source {
        SourceKind::Sheets => true,
        SourceKind::Workbook => false,
        SourceKind::Auto => settings.spreadsheet.is_some() && settings.workbook.is_none(),
    }
}

/// Whether it is the sample that the program carries, without anybody having asked for it, that records come from.
pub fn is_sample(settings: &Settings) -> bool {
    settings.source == SourceKind::Auto
        && settings.spreadsheet.is_none()
        && settings.workbook.is_none()
        && settings.bucket.is_none()
        && settings.environment == Environment::Production
}

/// The source of records, for one run.
///
/// # Errors
/// Settings that do not go together.
pub fn source(settings: &Settings) -> Result<Box<dyn Source>, SetupError> {
    if !from_sheets(settings) {
        return Ok(Box::new(workbook(settings)));
    }
    Ok(Box::new(spreadsheet(settings, scope::READ)?))
}

/// The spreadsheet of the settings, for one run.
///
/// # Errors
/// Settings that do not go together.
pub fn spreadsheet(settings: &Settings, scopes: &'static [&'static str]) -> Result<Spreadsheet, SetupError> {
    let id = spreadsheet_id(settings)?;
    let client = client(settings, scopes)?;
    Ok(Spreadsheet::new(client, id, settings.sheets.clone(), settings.payload_bytes))
}

/// The id of the spreadsheet.
///
/// # Errors
/// None is set.
pub fn spreadsheet_id(settings: &Settings) -> Result<&str, SetupError> {
    settings.spreadsheet.as_ref().map(|id| id.0.as_str()).ok_or(SetupError::Missing {
        wanted: "a Google spreadsheet as the source",
        missing: "VECTOR_DB_SPREADSHEET_ID",
        instead: "use KARUTE_SOURCE=workbook",
    })
}

/// A client for one run, with these scopes.
///
/// # Errors
/// A client that cannot be set up.
pub fn client(settings: &Settings, scopes: &'static [&'static str]) -> Result<Client, GoogleError> {
    let limits = Limits {
        reads_per_minute: settings.reads_per_minute,
        max_calls: settings.sync_max_calls,
        deadline: Duration::from_secs(settings.sync_deadline),
        ..Limits::default()
    };
    // Only a copy in Drive may have to be made as somebody who has space there.
    let user = Some(settings.backup_user.clone()).filter(|user| !user.is_empty() && scopes == scope::BACKUP);
    Client::new(settings.google_endpoint.clone(), credentials(settings, user), scopes, limits)
}

/// Appends rows to the ChatHistory sheet of the settings' spreadsheet.
///
/// # Errors
/// [`Failure::NoSpreadsheet`] where records come from elsewhere; [`Failure::Google`].
pub async fn export(settings: &Settings, rows: &[Vec<String>]) -> Result<(), Failure> {
    if !from_sheets(settings) {
        return Err(Failure::NoSpreadsheet);
    }
    let id = spreadsheet_id(settings).map_err(|_| Failure::NoSpreadsheet)?;
    append(settings, id, &settings.sheets.chat_history, rows).await
}

/// Appends rows to the log of costs.
///
/// # Errors
/// [`Failure::NoSpreadsheet`] where there is none; [`Failure::Google`].
pub async fn append_costs(settings: &Settings, rows: &[Vec<String>]) -> Result<(), Failure> {
    let id = settings.cost_log.as_ref().ok_or(Failure::NoSpreadsheet)?;
    append(settings, &id.0, &settings.cost_log_sheet, rows).await
}

async fn append(settings: &Settings, id: &str, sheet: &str, rows: &[Vec<String>]) -> Result<(), Failure> {
    let told = |error: GoogleError| Failure::Google(error.to_string());
    let client = client(settings, scope::WRITE).map_err(told)?;
    sheets::append(&client, id, sheet, rows).await.map_err(told)
}

/// Where a gate that was fitted here is kept.
const GATE: &str = "gate.json";

/// The gate for vectors of `embedder`: the one that was fitted here, if any was for that embedder, else the one that ships.
///
/// # Errors
/// A file that cannot be read or is none.
pub fn gate(settings: &Settings, embedder: &str) -> Result<Gate, SetupError> {
    let path = settings.data_dir.join(GATE);
    let fault = |detail: String| SetupError::Gate { path: path.display().to_string(), detail };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Gate::shipped(embedder)),
        Err(error) => return Err(fault(error.to_string())),
    };
    let gate: Gate = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
    if gate.embedder == embedder {
        return Ok(gate);
    }
    tracing::warn!(
        fitted_for = gate.embedder,
        embedder,
        "the gate was fitted for another embedder, so it is not used"
    );
    Ok(Gate::shipped(embedder))
}

/// Keeps a gate that was fitted here.
///
/// # Errors
/// A file that cannot be written.
pub fn keep_gate(settings: &Settings, gate: &Gate) -> Result<(), SetupError> {
    let path = settings.data_dir.join(GATE);
    let kept = serde_json::to_vec_pretty(gate).map_err(std::io::Error::from).and_then(|text| {
        // A file of half a gate would close the server at its next start.
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, &path)
    });
    kept.map_err(|error| SetupError::Gate { path: path.display().to_string(), detail: error.to_string() })
}

/// The workbook that the settings name.
pub fn workbook(settings: &Settings) -> Workbook {
    match &settings.workbook {
        Some(path) => Workbook::at(path, settings.sheets.clone()),
        None => Workbook::sample(),
    }
}

fn credentials(settings: &Settings, user: Option<String>) -> Credentials {
    match &settings.google_key {
        _ if settings.google_anonymous && settings.google_endpoint.other().is_some() => Credentials::nobody(),
        Some(file) => Credentials::key(file, user),
        None => Credentials::found(settings.google_endpoint.clone()),
    }
}

/// What turns texts into vectors.
///
/// # Errors
/// Settings that do not go together.
pub fn embedder(settings: &Settings) -> Result<Arc<dyn Embedder>, SetupError> {
    embedder_within(settings, LASTING)
}

/// As [`embedder`], for one run: with the run's deadline. What it may spend bounds its calls, which are one a text with some models.
///
/// # Errors
/// Settings that do not go together.
pub fn embedder_of_a_run(settings: &Settings) -> Result<Arc<dyn Embedder>, SetupError> {
    embedder_within(settings, Limits { deadline: Duration::from_secs(settings.sync_deadline), ..LASTING })
}

/// Whether a model of Vertex AI embeds.
pub fn embeds_by_vertex(settings: &Settings) -> bool {
    match settings.embedder {
        EmbedderKind::Vertex => true,
        EmbedderKind::Lexical => false,
        EmbedderKind::Auto => from_sheets(settings),
    }
}

fn embedder_within(settings: &Settings, limits: Limits) -> Result<Arc<dyn Embedder>, SetupError> {
    if !embeds_by_vertex(settings) {
        return Ok(Arc::new(Lexical::default()));
    }
    if settings.gcp_project.is_empty() {
        return Err(SetupError::Missing {
            wanted: "embedding by Vertex AI",
            missing: "GCP_PROJECT_ID",
            instead: "use KARUTE_EMBEDDER=lexical, which embeds every record anew on this machine",
        });
    }
    let models = Models::load(settings.models.as_deref())?;
    let model = models.embedding(&settings.embedding_model)?.clone();
    let (wanted, most) = (settings.embedding_dimensions, model.most_dimensions);
    if wanted > most {
        return Err(SetupError::Dimensions { model: model.name, wanted, most });
    }
    let client = model_client(settings, limits)?;
    Ok(Arc::new(Vertex::new(client, &settings.gcp_project, &settings.gcp_location, model, wanted)))
}

/// A client for models. Not a run but a life: each question has its own deadline, and a sync its own cap on what it may
/// spend.
fn lasting_client(settings: &Settings) -> Result<Client, GoogleError> {
    model_client(settings, LASTING)
}

fn model_client(settings: &Settings, limits: Limits) -> Result<Client, GoogleError> {
    Client::new(settings.google_endpoint.clone(), credentials(settings, None), scope::CLOUD, limits)
}

const LASTING: Limits = Limits {
    reads_per_minute: 1_500,
    max_calls: u64::MAX,
    deadline: Duration::MAX,
    attempts: 4,
    retries_per_minute: 30,
    first_pause: Duration::from_millis(500),
};

/// What turns evidence into answers, in the order in which it is asked.
///
/// # Errors
/// Settings that do not go together.
pub fn answerers(settings: &Settings) -> Result<Arc<[Arc<dyn Answerer>]>, SetupError> {
    let kinds = match settings.answerers.0.as_slice() {
        [] if from_sheets(settings) && !settings.gcp_project.is_empty() => &[AnswererKind::Vertex],
        [] => &[AnswererKind::Extractive][..],
        kinds => kinds,
    };
    let templates = Arc::new(Templates::load(settings.templates.as_deref())?);
    let written = |generator: Arc<dyn Generator>| -> Arc<dyn Answerer> {
        let (most_tokens, max_output_tokens) = (settings.prompt_tokens, settings.max_output_tokens);
        Arc::new(Generated::new(generator, templates.clone(), most_tokens, max_output_tokens))
    };
    let missing =
        |wanted, missing| SetupError::Missing { wanted, missing, instead: "use KARUTE_ANSWERERS=extractive" };
    kinds
        .iter()
        .map(|kind| match kind {
            AnswererKind::Extractive => Ok(Arc::new(Extractive) as Arc<dyn Answerer>),
            AnswererKind::Vertex if settings.gcp_project.is_empty() => {
                Err(missing("answering by Vertex AI", "GCP_PROJECT_ID"))
            }
            AnswererKind::Vertex => {
                let models = Models::load(settings.models.as_deref())?;
                let model = models.generation(&settings.generation_model)?.clone();
                let client = lasting_client(settings)?;
                let (project, location) = (&settings.gcp_project, &settings.gcp_location);
                Ok(written(Arc::new(Gemini::new(client, project, location, model))))
            }
            AnswererKind::OpenAi if settings.openai_url.is_empty() => {
                Err(missing("answering by OpenAI's interface", "KARUTE_OPENAI_URL"))
            }
            AnswererKind::OpenAi if settings.openai_model.is_empty() => {
                Err(missing("answering by OpenAI's interface", "KARUTE_OPENAI_MODEL"))
            }
            AnswererKind::OpenAi => {
                let key = settings.openai_key.reveal().map(str::to_owned);
                Ok(written(Arc::new(OpenAi::new(&settings.openai_url, key, &settings.openai_model)?)))
            }
        })
        .collect()
}

/// Whether something that the settings let answer sends a bill.
pub fn is_paid(settings: &Settings) -> bool {
    match settings.answerers.0.as_slice() {
        [] => from_sheets(settings) && !settings.gcp_project.is_empty(),
        kinds => kinds.contains(&AnswererKind::Vertex),
    }
}

/// What puts rows in their last order elsewhere, if anything does.
///
/// # Errors
/// Settings that do not go together.
pub fn reranker(settings: &Settings) -> Result<Option<Arc<dyn Reranker>>, SetupError> {
    if settings.reranker != RerankerKind::Vertex {
        return Ok(None);
    }
    if settings.gcp_project.is_empty() {
        return Err(SetupError::Missing {
            wanted: "KARUTE_RERANKER=vertex",
            missing: "GCP_PROJECT_ID",
            instead: "use KARUTE_RERANKER=local",
        });
    }
    let client = lasting_client(settings)?;
    let model = Models::load(settings.models.as_deref())?.ranking(&settings.reranker_model)?.clone();
    Ok(Some(Arc::new(Ranker::new(client, &settings.gcp_project, model))))
}

/// Where vectors that were paid for are kept.
pub fn embedding_cache(store: &Store) -> PathBuf {
    store.directory().join("embeddings")
}

/// How a sync is done unless somebody says otherwise.
///
/// # Errors
/// A file of questions that cannot be read.
pub fn how(settings: &Settings, publishing: Publishing) -> Result<How, SetupError> {
    Ok(How {
        publishing,
        pass: Pass::Changes { full_every: Duration::from_secs(settings.full_pass_hours * 3_600) },
        missing: Missing::Leave,
        write_back: false,
        precision: settings.vectors,
        lexical: settings.words,
        builder: None,
        questions: recall_questions(settings)?,
    })
}

/// The questions that recall is measured on besides the rows themselves.
///
/// # Errors
/// A file that cannot be read.
pub fn recall_questions(settings: &Settings) -> Result<Vec<String>, SetupError> {
    let Some(path) = &settings.recall_questions else { return Ok(Vec::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|source| SetupError::Questions { path: path.display().to_string(), source })?;
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// Embedding of what has no vector, within the limit of the settings.
pub fn embed_missing(settings: &Settings) -> Missing {
    Missing::Embed { most_yen: settings.embed_max_yen, yen_per_usd: settings.usd_jpy }
}
