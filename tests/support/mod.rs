//! What several test binaries need.

#![allow(missing_docs, dead_code)]

use netmon::config::{self, Command, Config, Dakr};

pub mod dakr_schema;
pub mod harness;
pub mod schema;
pub mod silent;

/// The configuration of a standalone agent with these flags beside.
pub fn standalone(flags: &[&str]) -> Config {
    config(&[&["-standalone"], flags].concat())
}

/// The configuration of an agent in a cluster.
pub fn in_cluster(flags: &[&str]) -> Config {
    config(flags)
}

fn config(flags: &[&str]) -> Config {
    let arguments = flags.iter().map(Into::into);
    match config::parse(arguments, |name| (name == "NODE_NAME").then(|| "test-node".into()), None) {
        Ok(Command::Run(config)) => *config,
        Ok(_) => panic!("{flags:?} do not run the agent"),
        Err(error) => panic!("{flags:?}: {error}"),
    }
}

/// A DAKR that nobody is to be sent to.
pub fn dakr() -> Dakr {
    let environment = |name: &str| match name {
        "DAKR_URL" => Some("http://127.0.0.1:1".into()),
        "CLUSTER_TOKEN" => Some("token".into()),
        _ => None,
    };
    match config::parse(["-standalone".into()], environment, Some("test-node".into())) {
        Ok(Command::Run(config)) => config.dakr.expect("both are set"),
        _ => panic!("a plain environment"),
    }
}
