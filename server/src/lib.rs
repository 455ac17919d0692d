//! # karute-server
//!
//! Answers over HTTP and on the command line: retrieve, decide whether the records answer the question, answer with
//! citations, and say who did.
//!
//! * [`config`]: every setting, from the environment, `.env` or a TOML file, checked as a whole.
//! * [`app::App`]: what requests share; [`start::prepare`] finds or builds the snapshot to serve.
//! * [`retrieve`]: from a question to the rows that may answer it, and whether they do; [`answer`]: from there to a cited
//!   answer. Neither knows HTTP.
//! * [`routes::app`]: all routes and layers on one screen.
//! * [`main`]: the program.

pub mod answer;
pub mod app;
pub mod cache;
pub mod catalogue;
mod cli;
pub mod config;
pub mod error;
pub mod eval;
mod numerals;
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

pub use cli::main;
