//! Settings of the replaced system that have another name or no meaning here. Each is answered by one warning.

/// A variable of the replaced system that this program does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Its name; a `*` at the end stands for any rest.
    pub name: &'static str,
    /// What to use in its place, or why nothing is needed.
    pub successor: &'static str,
}

impl Legacy {
    /// Whether `variable` is this one.
    pub fn matches(&self, variable: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => variable.starts_with(prefix),
            None => self.name == variable,
        }
    }
}

const NO_TUNING: &str = "not needed: the table of models (KARUTE_MODELS) says how each model is asked";
const NO_SIGN_IN: &str = "not needed: ID tokens are verified with the keys that Google publishes; FIREBASE_PROJECT_ID names the project";
const NO_CACHE: &str = "not needed: the snapshot is memory-mapped, so there is nothing to cache";
const NO_KEYWORDS: &str =
    "not used by this version, which mixes words and vectors by one fixed rule; SEARCH_FINAL_TOP_K is";
const NO_EXPORT: &str = "not used: GET /metrics gives every figure to whoever collects them";

macro_rules! legacy {
    ($($name:literal => $successor:expr;)*) => {
        /// Every variable of the replaced system that is no setting of this program.
        pub const LEGACY: &[Legacy] = &[$(Legacy { name: $name, successor: $successor },)*];
    };
}

legacy! {
    "DEBUG" => "use LOG_LEVEL=DEBUG; callers are never shown internals";
    "APP_VERSION" => "not needed: the program knows its version";
    "RELOAD" => "not needed: start the program again after changing it";
    "CORS_METHODS" => "not needed: ALLOWED_ORIGINS decides; the methods are those of the API";
    "CORS_HEADERS" => "not needed: ALLOWED_ORIGINS decides; the headers are those of the API";
    "GCP_PROJECT_NUMBER" => "not needed: GCP_PROJECT_ID names the project";
    "VERTEX_AI_EMBEDDINGS_TASK_TYPE" => "not needed: documents and questions are each embedded as what they are";
    "VERTEX_AI_*" => NO_TUNING;
    "RERANKER_TYPE" => "use KARUTE_RERANKER=vertex, which sends questions and records to the location global";
    "RERANKER_TOP_N" => "use top_k or context_size in the request";
    "SEARCH_BM25_TOP_K" => NO_KEYWORDS;
    "SEARCH_DENSE_TOP_K" => NO_KEYWORDS;
    "SEARCH_BM25_WEIGHT" => NO_KEYWORDS;
    "SEARCH_DENSE_WEIGHT" => NO_KEYWORDS;
    "MEDICAL_TERMS_MAX_SYNONYMS" => "not used: up to 10 other names of a term are searched for";
    "MEDICAL_TERMS_CACHE_TTL" => NO_CACHE;
    "CHAT_CONTEXT_WINDOW" => "use context_size in the request";
    "CHAT_STREAMING_ENABLED" => "not needed: POST /chat/stream streams, POST /chat does not";
    "BATCH_SIZE" => "not needed: each embedder knows its batch size";
    "CACHE_VECTOR_DB_TTL" => NO_CACHE;
    "CACHE_CLEANUP_INTERVAL" => "not needed: what has expired is never served, and its place is taken when it is needed";
    "ENABLE_CLOUD_MONITORING" => NO_EXPORT;
    "METRICS_EXPORT_INTERVAL" => NO_EXPORT;
    "FIREBASE_*" => NO_SIGN_IN;
    "USE_FIRESTORE_VECTOR_SEARCH" => "not needed: the snapshot in KARUTE_DATA_DIR is what is searched";
    "FIRESTORE_VECTOR_*" => "not needed: the snapshot in KARUTE_DATA_DIR is what is searched";
    "LANGCHAIN_*" => NO_EXPORT;
    "LANGSMITH_*" => NO_EXPORT;
    "MYSQL_*" => "not needed: the snapshot in KARUTE_DATA_DIR is what is searched";
    "USE_RAG_ENGINE_V3" => "not needed: there is one engine";
    "PROMPT_OPTIMIZER_*" => "not used: questions are not rewritten by a model";
    "V3_*" => "use top_k or context_size in the request";
    "BASE_URL" => "belongs to the old scripts, not to this program";
    "EMBEDDING_MODEL" => "use VERTEX_AI_EMBEDDINGS_MODEL";
    "GEMINI_MODEL" => "use VERTEX_AI_GENERATION_MODEL";
    "NEXT_PUBLIC_*" => "belongs to the web client, not to this program";
}
