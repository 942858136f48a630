//! The commands beside the agent: each takes what was given to it, and answers with an exit status.
//!
//! [`crate::config::tools`] is their table; `main` calls them.

pub mod audit;
pub mod client;
pub mod compile;
pub mod doctor;
pub mod flows;
pub mod publish;
pub mod state;
pub mod table;
pub mod top;
pub mod view;
