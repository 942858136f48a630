//! Parses the arguments, runs the agent, and converts the result to an exit status.

use std::process::ExitCode;

use netmon::config::tools::{Given, Tool};
use netmon::config::{self, Command};
use netmon::{agent, logging, tools};

pub fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    let config = match config::parse(arguments, |name| std::env::var_os(name), nix::unistd::gethostname().ok()) {
        Ok(Command::Run(config)) => *config,
        Ok(Command::Help) => {
            print!("{}", config::help());
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("zxporter-netmon {} ({})", netmon::VERSION, netmon::COMMIT);
            return ExitCode::SUCCESS;
        }
        Ok(Command::HelpOf(tool)) => {
            print!("{}", config::help_of(tool));
            return ExitCode::SUCCESS;
        }
        Ok(Command::Tool(tool, given)) => return run(tool, &given),
        Err(error) => {
            eprintln!("zxporter-netmon: {error}");
            return ExitCode::from(2);
        }
    };
    logging::init(config.log_level);
    match agent::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zxporter-netmon: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is not counting.
fn run(tool: Tool, given: &Given) -> ExitCode {
    match tool {
        Tool::TopologyCompile => tools::compile::run(given),
        Tool::TopologyPublish => tools::publish::run(given),
        Tool::StateGive => tools::state::run(given),
    }
}
