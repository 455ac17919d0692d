//! # karute-server
//!
//! Answers over HTTP and on the command line: retrieve, decide whether the records answer the question, answer with
//! citations, and say who did.
//!
//! * [`config`]: every setting, from the environment, `.env` or a TOML file, checked as a whole.
//! * [`app::App`]: what requests share; [`start::prepare`] finds or builds the snapshot to serve.
//! * [`retrieve`]: from a question to the rows that may answer it, and whether they do; [`answer`]: from there to a cited
//!   answer. Neither knows HTTP.
//! * [`routes::table`]: all routes, and what each needs, on one screen; [`access`] finds out who asks.
//! * [`money`]: what models may cost, reserved before each call; [`audit`]: who saw whose records; [`state`]: the database
//!   of both, and of conversations.
//! * [`upstream`]: services that fail are left alone for a while.
//! * [`main`]: the program.

pub mod access;
pub mod answer;
pub mod app;
pub mod audit;
pub mod cache;
pub mod catalogue;
mod cli;
pub mod config;
pub mod costs;
pub mod error;
pub mod eval;
mod follow;
mod health;
mod listen;
pub mod metrics;
pub mod money;
mod numerals;
mod paying;
pub mod preflight;
mod progress;
mod reload;
mod request;
pub mod retrieve;
pub mod routes;
pub mod setup;
mod shutdown;
pub mod start;
pub mod state;
mod telemetry;
pub mod upstream;
mod window;

pub use cli::main;
