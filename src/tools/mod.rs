//! The commands beside the agent: each takes what was given to it, and answers with an exit status.
//!
//! [`crate::config::tools`] is their table; `main` calls them.

pub mod compile;
pub mod publish;
pub mod state;
