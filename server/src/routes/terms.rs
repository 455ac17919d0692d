//! `/terms`: words of the dictionary that a question may mean, and what people decide about them.

use axum::Json;
use axum::extract::State;
use karute_engine::Term;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Failure, Problem, Problems};
use crate::request::Fields;
use crate::retrieve::caller::Caller;
use crate::retrieve::understand::{Asked, Understood, suggest, understand};
use crate::state::Decision;

/// Most characters of a query, and most decisions at once.
const LONGEST_QUERY: usize = 500;
const MOST_DECISIONS: usize = 50;
/// Other names of a term that are shown.
const ALTERNATIVES: usize = 3;

/// Words to look for.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `suggest` takes, for the OpenAPI document")]
pub(super) struct SuggestRequest {
    #[schema(min_length = 1, max_length = 500, example = "バルーンの交換")]
    query: String,
}

/// A term of the dictionary that the query may mean.
#[derive(Serialize, ToSchema)]
pub(super) struct Suggestion {
    /// The words of the query.
    original: String,
    /// The dictionary's word.
    canonical: String,
    /// Other names of it.
    alternatives: Vec<String>,
    category: String,
    /// How many more people took it for what they meant than did not.
    frequency: i64,
}

/// What the query may mean, best first.
#[derive(Serialize, ToSchema)]
pub(super) struct Suggestions {
    query: String,
    suggestions: Vec<Suggestion>,
}

/// Suggests terms.
#[utoipa::path(post, path = "/terms/suggest", tag = "terms", request_body = SuggestRequest,
    responses((status = 200, description = "Terms of the dictionary", body = Suggestions), Problems))]
pub(super) async fn suggest_terms(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Suggestions>, Failure> {
    let query = fields.required_text("query", LONGEST_QUERY);
    fields.finish()?;
    let (index, now, text, reader) = (app.index()?, (app.now)(), query.clone(), app.clone());
    let found = app.on_pool(move || -> Result<Vec<Suggestion>, Failure> {
        let catalogue = reader.catalogue(&index)?;
        let asked = Asked { now, index: &index, catalogue: &catalogue, caller: &caller, client: None };
        let understood = understand(&text, &[], &[], asked)?;
        let term = |canonical: &str| index.terms().iter().find(|term| term.canonical == canonical);
        let named = understood
            .terms
            .iter()
            .filter_map(|named| term(&named.canonical).map(|t| (named.form.clone(), t)));
        let mut found: Vec<Suggestion> = named.map(|(form, term)| suggestion(form, term)).collect();
        // What the query only nearly says.
        let nearly = suggest::suggest(&Understood { terms: Vec::new(), ..understood }, &index);
        for term in nearly.iter().filter_map(|canonical| term(canonical)) {
            if !found.iter().any(|known| known.canonical == term.canonical) {
                found.push(suggestion(text.clone(), term));
            }
        }
        Ok(found)
    });
    let mut suggestions = found.await??;
    let canonicals: Vec<String> = suggestions.iter().map(|found| found.canonical.clone()).collect();
    let learned = match app.state() {
        None => None,
        // Without it suggestions only lose their order.
        Some(state) => {
            state.learned(&canonicals).await.inspect_err(|error| tracing::warn!(%error, "unordered")).ok()
        }
    };
    if let Some(learned) = learned {
        for found in &mut suggestions {
            found.frequency = learned.get(&found.canonical).copied().unwrap_or(0);
        }
        // Stable: what nobody has decided about keeps its order.
        suggestions.sort_by_key(|found| std::cmp::Reverse(found.frequency));
    }
    Ok(Json(Suggestions { query, suggestions }))
}

fn suggestion(original: String, term: &Term) -> Suggestion {
    let others = term.synonyms.iter().filter(|other| **other != original);
    let alternatives = others.take(ALTERNATIVES).cloned().collect();
    Suggestion {
        original,
        canonical: term.canonical.clone(),
        alternatives,
        category: term.category.clone(),
        frequency: 0,
    }
}

/// Whether a word means what a term of the dictionary means.
#[derive(Deserialize, ToSchema)]
pub(super) struct Confirmation {
    /// The word.
    original: String,
    /// The dictionary's word.
    canonical: String,
    /// Whether they mean the same.
    #[serde(default = "yes")]
    #[schema(default = true)]
    accepted: bool,
}

fn yes() -> bool {
    true
}

/// Decisions about words.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what `confirm` takes, for the OpenAPI document")]
pub(super) struct ConfirmRequest {
    #[schema(min_items = 1, max_items = 50)]
    confirmations: Vec<Confirmation>,
}

/// They were kept.
#[derive(Serialize, ToSchema)]
pub(super) struct Confirmed {
    /// Decisions that were kept.
    confirmed: usize,
}

/// Keeps decisions about words: they order later suggestions.
#[utoipa::path(post, path = "/terms/confirm", tag = "terms", request_body = ConfirmRequest,
    responses((status = 200, description = "They were kept", body = Confirmed),
        (status = 501, description = "Nothing is kept here", body = Problem), Problems))]
pub(super) async fn confirm(
    State(app): State<App>,
    caller: Caller,
    mut fields: Fields,
) -> Result<Json<Confirmed>, Failure> {
    fields.must("confirmations");
    let given: Vec<Confirmation> = fields.optional(
        "confirmations",
        "a list of objects with the texts original and canonical, and accepted, true or false",
    );
    fields.check(
        "confirmations",
        (1..=MOST_DECISIONS).contains(&given.len())
            && given
                .iter()
                .all(|given| [&given.original, &given.canonical].into_iter().all(|text| is_word(text))),
        "a list of 1 to 50 pairs of words of 1 to 500 characters",
    );
    fields.finish()?;
    let decision = |given: Confirmation| Decision {
        term: given.original,
        canonical: given.canonical,
        accepted: given.accepted,
    };
    let decisions: Vec<Decision> = given.into_iter().map(decision).collect();
    app.kept()?.decide(&caller.name, &decisions, (app.now)()).await?;
    Ok(Json(Confirmed { confirmed: decisions.len() }))
}

fn is_word(text: &str) -> bool {
    (1..=LONGEST_QUERY).contains(&text.chars().count()) && !text.contains(char::is_control)
}
