//! Why a start fails, as one line for the operator.

use std::fmt;
use std::path::PathBuf;

use crate::http::server::BindError;
use crate::kube::credentials::CredentialsError;
use crate::limits::TooSmall;
use crate::source::SourceError;

/// Why the agent cannot start.
#[derive(Debug)]
pub enum StartError {
    /// The wanted mode, or any mode, cannot run here.
    Source(SourceError),
    /// The local endpoint cannot be opened.
    Bind(BindError),
    /// No credentials for the API server.
    Credentials(CredentialsError),
    /// The host's addresses cannot be read.
    Addresses(std::io::Error),
    /// The recording cannot be made.
    Record(PathBuf, std::io::Error),
    /// The kernel would kill it.
    Memory(TooSmall),
    /// A descriptor or a thread cannot be created.
    Resources(&'static str, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Source(error) => error.fmt(f),
            StartError::Bind(error) => error.fmt(f),
            StartError::Credentials(error) => write!(f, "cannot find the API server: {error}"),
            StartError::Addresses(error) => write!(f, "cannot read the host's addresses by rtnetlink: {error}"),
            StartError::Record(file, error) => write!(f, "cannot record to {}: {error}", file.display()),
            StartError::Memory(error) => error.fmt(f),
            StartError::Resources(what, error) => write!(f, "cannot start {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}
