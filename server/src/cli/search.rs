//! `karute search`: the records nearest to a question.

use clap::Args;
use karute_engine::{Day, Explained, Plan};
use serde_json::json;

use super::{Outcome, asking, plain, prepare, print_json};
use crate::answer::milliseconds;
use crate::audit::Seen;
use crate::config::Settings;
use crate::error::Failure;
use crate::retrieve::caller::Caller;
use crate::retrieve::explain::explain;
use crate::retrieve::limits::Limits;
use crate::retrieve::understand::Part;
use crate::retrieve::{Evidence, Lap, Planned, Question, Stages, retrieve};

/// What to search for.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The question.
    question: String,
    #[command(flatten)]
    scope: Scope,
    /// How many records to show, 1 to 50.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    top: Option<u16>,
    /// Pass over no record, whatever the number of records.
    #[arg(long)]
    exact: bool,
    /// Say how the records were found, and what that cost.
    #[arg(long)]
    explain: bool,
    /// Parts of the understanding of the question to switch off.
    #[arg(long, value_delimiter = ',', value_name = "PARTS", value_parser = part)]
    without: Vec<Part>,
}

fn part(name: &str) -> Result<Part, String> {
    serde_json::from_value(json!(name)).map_err(|_| format!("one of {}", Part::KNOWN))
}

/// Which records may be found.
#[derive(Debug, Args)]
pub(super) struct Scope {
    /// Only records of this client (利用者), by id such as CL-00001.
    #[arg(long, value_name = "ID")]
    client: Option<String>,
    /// Only records of this domain: nursing, clients, calls, sales.
    #[arg(long)]
    domain: Option<String>,
    /// Only records of this kind, such as care_record.
    #[arg(long, value_name = "KIND")]
    source_type: Option<String>,
    /// Only records with one of these tags.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Only records of this day or later ones, YYYY-MM-DD.
    #[arg(long, value_name = "DAY")]
    from: Option<Day>,
    /// Only records of this day or earlier ones, YYYY-MM-DD.
    #[arg(long, value_name = "DAY")]
    to: Option<Day>,
}

impl Scope {
    /// A question within this scope.
    ///
    /// # Errors
    /// Days in the wrong order.
    pub(super) fn question(self, text: String, top: usize) -> Result<Question, String> {
        // Whoever runs the program can read the snapshot itself.
        let all = Question::new(text, Caller::operator());
        let Self { client, domain, source_type, tag, from, to } = self;
        let limits =
            Limits { client_id: client, domain, source_type, tags: tag, date_from: from, date_to: to };
        if !limits.in_order() {
            return Err("--to is a day before --from".into());
        }
        Ok(Question { limits, top, ..all })
    }
}

fn told(failure: Failure) -> String {
    format!("the search failed: {failure:?}")
}

pub(super) async fn run(settings: Settings, options: Options, json: bool) -> Outcome {
    let app = asking(settings).await?;
    app.serve(prepare(&app).await?);
    let top = options.top.map_or(app.settings.search_top_k, usize::from);
    let mut question = options.scope.question(options.question, top)?;
    question.without = options.without;
    if options.exact {
        question.plan = Plan::Exact;
    }
    let retrieved = retrieve(&app, &question).await.map_err(told)?;
    let seen = Seen { action: "search", question: Some(&question.text), ..Seen::default() };
    app.seen(&question.caller, seen, retrieved.evidence.iter().map(|found| &found.row))
        .await
        .map_err(told)?;
    if json {
        let hit = |(rank, evidence): (usize, &Evidence)| {
            let row = &evidence.row;
            json!({
                "rank": rank, "score": evidence.score, "rank_by_vector": evidence.by_vector,
                "rank_by_words": evidence.by_words, "id": row.id, "title": row.title, "content": row.content,
                "date": row.date, "domain": row.domain, "source_type": row.source_type, "client_id": row.client_id,
                "origin": {
                    "spreadsheet": row.origin.spreadsheet, "sheet": row.origin.sheet, "row": row.origin.row_number,
                },
            })
        };
        let explain = match options.explain {
            true => Some(explain(&question, &retrieved, &app.gate, app.index().map_err(told)?.as_ref())?),
            false => None,
        };
        return print_json(&json!({
            "explain": explain,
            "snapshot_id": retrieved.snapshot.to_string(),
            "degraded": retrieved.degraded(),
            "embedder": app.embedder.identity().model,
            "results": (1..).zip(retrieved.evidence.iter()).map(hit).collect::<Vec<_>>(),
        }));
    }
    if let Some(degraded) = retrieved.degraded() {
        say!("{degraded}")?;
    }
    if retrieved.evidence.is_empty() {
        say!("該当する記録はありません。")?;
    }
    for (rank, evidence) in (1..).zip(retrieved.evidence.iter()) {
        let row = &evidence.row;
        say!("{rank:>3}  {:.3}  {}  {}", evidence.score, row.date, plain(&row.title))?;
        say!("     {}, {} 行 {}", plain(&row.id), plain(&row.origin.sheet), row.origin.row_number)?;
        if options.explain {
            let rank = |rank: Option<usize>| rank.map_or("-".to_owned(), |rank| rank.to_string());
            say!(
                "     by vector {} ({:.3}), by words {} ({:.3}), mixed {}; {}",
                rank(evidence.by_vector),
                evidence.similarity,
                rank(evidence.by_words),
                evidence.keywords,
                evidence.mixed,
                if evidence.about {
                    "speaks of who and when is asked about"
                } else {
                    "of somebody, or some day, else"
                }
            )?;
        }
    }
    if options.explain {
        let understood = &retrieved.understood;
        say!("searched for: {}", plain(&understood.text))?;
        if let Some(before) = &understood.taken_over {
            say!("taken over: {}", plain(before))?;
        }
        if let Some(word) = understood.newest {
            say!("newest first: {word}")?;
        }
        for span in &understood.days {
            say!("days: {} is {} to {}", plain(&span.phrase), span.first, span.last)?;
        }
        if !understood.people.is_empty() {
            let people = &understood.people;
            say!("people: {} {}", plain(&people.names.join("、")), plain(&people.clients.join(", ")))?;
        }
        for term in &understood.terms {
            say!("term: {} is {}, also {}", plain(&term.form), term.canonical, term.others.join("、"))?;
        }
        say!(
            "snapshot: {}, ranked by {}",
            retrieved.snapshot,
            retrieved.reranked_by.as_deref().unwrap_or("this machine")
        )?;
        let verdict = &retrieved.verdict;
        say!(
            "answerable: {} (probability {:.2}, at least {:.2})",
            verdict.answerable,
            verdict.score,
            app.gate.threshold
        )?;
        let Stages { embed, understand, search, rank, rerank } = retrieved.stages;
        say!(
            "microseconds: understand {understand}, embed {embed}, search {search}, rank {rank}, rerank {rerank}"
        )?;
    }
    if let (true, Some(Planned { explained, stages })) = (options.explain, &retrieved.explained) {
        let Explained { why, ef_search, counters } = explained;
        let ef_search = ef_search.map_or(String::new(), |ef_search| format!(", ef_search {ef_search}"));
        say!("{why}{ef_search}")?;
        say!(
            "{} rows compared by their codes, {} nodes visited, {} vectors compared, {} bytes read; {:.1} ms in all",
            counters.distances,
            counters.hops,
            counters.rescored,
            counters.bytes,
            milliseconds(retrieved.took)
        )?;
        let part = |Lap { stage, microseconds }: &Lap| format!("{stage:?} {microseconds:.0}").to_lowercase();
        say!("microseconds by vectors: {}", stages.iter().map(part).collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}
