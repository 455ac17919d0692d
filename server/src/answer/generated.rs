//! Answers that a language model writes from the rows.

use std::sync::Arc;

use async_stream::try_stream;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use karute_sync::generate::{Delta, Finished, Generator};

use super::prompt::{self, Templates};
use super::{Answerer, Asked, Piece};
use crate::error::Failure;

/// Answers with a language model.
pub struct Generated {
    generator: Arc<dyn Generator>,
    templates: Arc<Templates>,
    /// Most tokens of rules, rows, conversation and question together.
    most_tokens: usize,
    max_output_tokens: u32,
}

impl Generated {
    /// Answers with `generator`, told how by `templates`, from prompts of about so many tokens.
    pub fn new(
        generator: Arc<dyn Generator>,
        templates: Arc<Templates>,
        most_tokens: usize,
        max_output_tokens: u32,
    ) -> Self {
        Self { generator, templates, most_tokens, max_output_tokens }
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
        let failed = |error: karute_sync::generate::GenerateError| Failure::Model(error.to_string());
        Box::pin(try_stream! {
            let marker = prompt::marker();
            let (mut prompt, rows) =
                prompt::build(asked, &self.templates, &marker, self.most_tokens, self.max_output_tokens);
            if rows == 0 {
                Err(Failure::Model("no row fits into the prompt: raise KARUTE_PROMPT_TOKENS".into()))?;
            }
            let prompt_digest = prompt::digest(&prompt, &marker);
            let most = self.generator.cost(&self.generator.most(&prompt)).usd();
            let mut ticket = asked.till.reserve("answer", self.model(), most).await?;
            prompt.label = ticket.as_ref().map(|ticket| ticket.id().to_owned()).unwrap_or_default();
            let mut deltas = match self.generator.generate(&prompt).await {
                Ok(deltas) => deltas,
                Err(error) => {
                    if let Some(ticket) = ticket.filter(|_| error.refused()) {
                        ticket.free().await;
                    }
                    Err(failed(error))?;
                    return;
                }
            };
            let mut said = false;
            while let Some(delta) = deltas.next().await {
                match delta.map_err(failed)? {
                    // White space alone is no answer.
                    Delta::Text(text) if !said && text.trim().is_empty() => {}
                    Delta::Text(text) => {
                        said = true;
                        yield Piece::Text(text);
                    }
                    Delta::Done(finished) => {
                        let cost = self.generator.cost(&finished.usage);
                        if let Some(ticket) = ticket.take() {
                            ticket.settle(cost, &finished.usage).await;
                        }
                        // A model that only thought has answered nothing.
                        if !said {
                            let Finished { model, finish, .. } = &finished;
                            Err(Failure::Model(format!("{model} ended without a word ({finish:?})")))?;
                        }
                        let usd = cost.usd();
                        let template = self.templates.version(&asked.question).to_owned();
                        yield Piece::Done { finished, usd, template, prompt_digest: prompt_digest.clone(), rows };
                    }
                }
            }
        })
    }
}
