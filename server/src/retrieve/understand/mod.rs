//! What a question says of itself, before anything is searched: days, people, terms, and what it takes from the
//! conversation. Local and deterministic; each part is shown to the caller and can be switched off.

mod calendar;
pub(super) mod dates;
mod followup;
pub(crate) mod names;
mod people;
pub(crate) mod suggest;
mod wordlists;

use karute_engine::{Index, OpenError};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, UtcOffset};
use utoipa::ToSchema;

use super::caller::Caller;
use crate::catalogue::Catalogue;
pub use dates::Span;
use followup::GoesOn;
pub use people::People;
pub use suggest::suggest;

/// Most synonyms of a term that are searched for.
const SYNONYMS: usize = 10;

/// Parts of the understanding that a caller can switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Rows of the days that the question speaks of come first, or the newest, if it asks for them.
    Dates,
    /// Only rows that speak of the people whom the question names answer it.
    People,
    /// A question that goes on from the one before takes over what it lacks.
    FollowUp,
    /// Medical terms are looked for under their other names too.
    Terms,
}

impl Part {
    /// Every part.
    pub const ALL: [Self; 4] = [Self::Dates, Self::People, Self::FollowUp, Self::Terms];
    /// Their names, for messages.
    pub const KNOWN: &str = "dates, people, follow_up, terms";
}

/// A term of the question and the other words by which it is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ExpandedTerm {
    /// The word in the question, as the sheet of terms writes it.
    pub form: String,
    /// The preferred word.
    pub canonical: String,
    /// Kind of term: 症状, 薬剤, ...
    pub category: String,
    /// The words that are searched for besides.
    pub others: Vec<String>,
}

/// What was understood of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Understood {
    /// The text that is searched for: the question without its days, and what it takes from the one before.
    pub text: String,
    /// Days that it speaks of; their rows come first.
    pub days: Vec<Span>,
    /// The word by which it asks for the newest rows.
    pub newest: Option<&'static str>,
    /// The people whom it names.
    pub people: People,
    /// What was taken over from the question before.
    pub taken_over: Option<String>,
    /// Terms that are looked for under other names too.
    pub terms: Vec<ExpandedTerm>,
}

/// Where a question is asked, and by whom.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// When.
    pub now: OffsetDateTime,
    /// What is searched.
    pub index: &'a Index,
    /// What that says of itself.
    pub catalogue: &'a Catalogue,
    /// Whose rows may be seen.
    pub caller: &'a Caller,
    /// The client that the search is limited to.
    pub client: Option<&'a str>,
}

/// Reads `question`, asked after `earlier` ones, the latest last. Names are looked up among the clients that the caller
/// may see.
///
/// # Errors
/// A snapshot that turns out to be damaged.
pub fn understand(
    question: &str,
    earlier: &[String],
    without: &[Part],
    asked: Asked<'_>,
) -> Result<Understood, OpenError> {
    let wanted = |part: Part| !without.contains(&part);
    let mut understood = Understood { text: question.to_owned(), ..Understood::default() };
    let mut topic = None;
    let goes_on = wanted(Part::FollowUp) && !earlier.is_empty();
    if wanted(Part::People) || goes_on {
        let named = people(question, asked);
        if goes_on {
            topic = go_on(&mut understood, question, &named, earlier, wanted(Part::People), asked);
        }
        if wanted(Part::People) && understood.people.is_empty() {
            understood.people = named;
        }
    }
    let today = japan(asked.now).date();
    if wanted(Part::Dates) {
        understood.newest = dates::newest(question);
        (understood.days, understood.text) = dates::spans(question, today);
        if let Some(before) = topic {
            // Nothing but a day: 昨日?
            let nothing_else = understood.text == question && !understood.days.is_empty();
            let (days, rest) = dates::spans(before, today);
            // 昨日は? asks of yesterday, whatever the question before asked of.
            if understood.days.is_empty() && understood.newest.is_none() {
                (understood.newest, understood.days) = (dates::newest(before), days);
            }
            understood.text = match nothing_else {
                true => rest,
                false => format!("{}\n{rest}", understood.text),
            };
        }
    } else if let Some(before) = topic {
        understood.text = format!("{question}\n{before}");
    }
    if wanted(Part::Terms) {
        understood.terms = expand(&understood.text, asked.index)?;
    }
    Ok(understood)
}

/// Takes over what `question` lacks from those before: the people, if they are `wanted`, into `understood`, and the question that
/// has the topic, which is returned.
fn go_on<'a>(
    understood: &mut Understood,
    question: &str,
    named: &People,
    earlier: &'a [String],
    wanted: bool,
    asked: Asked<'_>,
) -> Option<&'a str> {
    let today = japan(asked.now).date();
    let lacks_a_topic = |question: &str, people: &People| {
        followup::lacks_a_topic(&dates::without(question, today), &people.names)
    };
    // Whoever asks of all but somebody does not ask of that one again.
    let goes_on = match named.is_empty() && !named.excepts() {
        true => followup::goes_on(question),
        false => GoesOn::No,
    };
    // 奥寺さんは? and 昨日は? ask the same of somebody else, or of another day, however many of them stand in a row.
    let topic = match goes_on == GoesOn::Thing || lacks_a_topic(question, named) {
        true => earlier.iter().rev().find(|before| !lacks_a_topic(before, &people(before, asked))),
        false => None,
    };
    if goes_on != GoesOn::No
        && wanted
        && let Some(people) =
            earlier.iter().rev().map(|before| people(before, asked)).find(|people| !people.is_empty())
    {
        understood.taken_over = Some(people.names.join("、"));
        understood.people = people;
    }
    if let Some(before) = topic {
        understood.taken_over = Some(before.clone());
    }
    topic.map(String::as_str)
}

fn people(question: &str, asked: Asked<'_>) -> People {
    People::of(question, asked.catalogue, asked.caller, asked.client)
}

/// The terms of `text` with their other names.
fn expand(text: &str, index: &Index) -> Result<Vec<ExpandedTerm>, OpenError> {
    let expanded = index.terms_in(text)?.into_iter().map(|found| {
        let others = std::iter::once(&found.term.canonical).chain(&found.term.synonyms);
        let others = others.filter(|other| *other != found.form).take(SYNONYMS);
        ExpandedTerm {
            form: found.form.to_owned(),
            canonical: found.term.canonical.clone(),
            category: found.term.category.clone(),
            others: others.cloned().collect(),
        }
    });
    Ok(expanded.collect())
}

/// The same moment by the clocks of Japan, which has no summer time.
pub fn japan(now: OffsetDateTime) -> OffsetDateTime {
    now.to_offset(UtcOffset::from_hms(9, 0, 0).unwrap_or(UtcOffset::UTC))
}
