//! Answers that a language model writes from the rows.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_stream::try_stream;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use karute_sync::generate::{Delta, Deltas, Finished, GenerateError, Generator, Prompt};

use tokio::time::Instant;

use super::check::says_nothing;
use super::prompt::{self, Templates};
use super::{Answerer, Asked, Piece};
use crate::error::Failure;
use crate::money::{Ticket, Till};
use crate::window::Window;

/// How long to wait before a model that is busy is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(1500)];
/// Longest wait because the service asks for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often in any minute, whoever asks: a service that is busy is not asked ever more often because of it.
const AGAIN_A_MINUTE: usize = 30;

/// Answers with a language model.
pub struct Generated {
    generator: Arc<dyn Generator>,
    templates: Arc<Templates>,
    /// Most tokens of rules, rows, conversation and question together.
    most_tokens: usize,
    max_output_tokens: u32,
    asked_again: Mutex<Window>,
}

impl Generated {
    /// Answers with `generator`, told how by `templates`, from prompts of about so many tokens.
    pub fn new(
        generator: Arc<dyn Generator>,
        templates: Arc<Templates>,
        most_tokens: usize,
        max_output_tokens: u32,
    ) -> Self {
        let asked_again = Mutex::default();
        Self { generator, templates, most_tokens, max_output_tokens, asked_again }
    }
}

/// A failure of a model, told apart by whether it is the question's.
fn failed(error: GenerateError) -> Failure {
    match error.is_of_the_question() {
        true => Failure::Declined(error.to_string()),
        false => Failure::Model(error.to_string()),
    }
}

impl Generated {
    /// Asks, and once or twice more where the service says no for the moment. Each try is a call of its own in the ledger:
    /// what was refused costs nothing, but it counts.
    async fn open(
        &self,
        till: &Till,
        most: f64,
        mut prompt: Prompt,
    ) -> Result<(Option<Ticket>, Deltas), Failure> {
        let mut pauses = PAUSES.iter();
        loop {
            let ticket = till.reserve("answer", self.model(), most).await?;
            prompt.label = ticket.as_ref().map(|ticket| ticket.id().to_owned()).unwrap_or_default();
            let error = match self.generator.generate(&prompt).await {
                Ok(deltas) => return Ok((ticket, deltas)),
                Err(error) => error,
            };
            if let Some(ticket) = ticket.filter(|_| error.refused()) {
                ticket.free().await;
            }
            // Nor before it wants to be asked; whoever would have to wait long for that had better go on to the next.
            let wanted = error.passes_after().filter(|wanted| *wanted <= LONGEST_PAUSE);
            match wanted.zip(pauses.next()) {
                Some((wanted, pause)) if self.may_ask_again() => {
                    tokio::time::sleep(wanted.max(*pause)).await;
                }
                _ => return Err(failed(error)),
            }
        }
    }
}

impl Generated {
    fn may_ask_again(&self) -> bool {
        let mut asked_again = self.asked_again.lock().unwrap_or_else(PoisonError::into_inner);
        asked_again.take(AGAIN_A_MINUTE, Instant::now()).is_ok()
    }
}

impl Answerer for Generated {
    fn mode(&self) -> &'static str {
        "generated"
    }

    fn model(&self) -> &str {
        self.generator.model()
    }

    fn fingerprint(&self, question: &str) -> String {
        format!("{} {} {}", self.model(), self.templates.version(question), self.max_output_tokens)
    }

    fn answer<'a>(&'a self, asked: &'a Asked) -> BoxStream<'a, Result<Piece, Failure>> {
        Box::pin(try_stream! {
            let marker = prompt::marker();
            let (prompt, shown) =
                prompt::build(asked, &self.templates, &marker, self.most_tokens, self.max_output_tokens);
            if shown.iter().all(Option::is_none) {
                Err(Failure::Declined("no row fits into the prompt: raise KARUTE_PROMPT_TOKENS".into()))?;
            }
            let prompt_digest = prompt::digest(&prompt, &marker);
            let most = self.generator.cost(&self.generator.most(&prompt)).usd();
            let (mut ticket, mut deltas) = self.open(&asked.till, most, prompt).await?;
            let mut said = String::new();
            while let Some(delta) = deltas.next().await {
                // What was not counted is presumed to have cost the most: its ticket is dropped.
                if let (Err(GenerateError::Blocked { usage: Some(usage), .. }), true) = (&delta, ticket.is_some())
                    && usage.input_tokens > 0
                    && let Some(ticket) = ticket.take()
                {
                    ticket.settle(self.generator.cost(usage), usage).await;
                }
                match delta.map_err(failed)? {
                    // White space alone is no answer.
                    Delta::Text(text) if said.is_empty() && text.trim().is_empty() => {}
                    Delta::Text(text) => {
                        said.push_str(&text);
                        yield Piece::Text(text);
                    }
                    Delta::Done(finished) => {
                        let usage = finished.usage.as_ref().filter(|usage| usage.input_tokens > 0);
                        let cost = usage.map(|usage| self.generator.cost(usage));
                        if let (Some(ticket), Some(cost), Some(usage)) = (ticket.take(), cost, usage) {
                            ticket.settle(cost, usage).await;
                        }
                        // A model that only thought has answered nothing.
                        if said.is_empty() {
                            let Finished { model, finish, .. } = &finished;
                            Err(Failure::Model(format!("{model} ended without a word ({finish:?})")))?;
                        }
                        let usd = cost.map_or(most, |cost| cost.usd());
                        let template = self.templates.version(&asked.question).to_owned();
                        let found_nothing = says_nothing(&said, self.templates.nothing(&asked.question));
                        let (prompt_digest, shown) = (prompt_digest.clone(), shown.clone());
                        yield Piece::Done { finished, usd, template, prompt_digest, shown, found_nothing };
                    }
                }
            }
        })
    }
}
