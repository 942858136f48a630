//! Parses the arguments, runs the agent, and converts the result to an exit status.

use std::ffi::OsString;
use std::process::ExitCode;

use netmon::clock::SECOND;
use netmon::config::tools::{Given, Tool};
use netmon::config::{self, Command, Config, UsageError, duration};
use netmon::logging::{self, Format};
use netmon::{agent, tools};

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
            logging::last_word(Format::Text, &error);
            return ExitCode::from(2);
        }
    };
    let format = config.log_format;
    logging::init(config.log_level, format);
    match agent::run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::last_word(format, &error);
            ExitCode::FAILURE
        }
    }
}

/// What is not counting.
fn run(tool: Tool, given: &Given) -> ExitCode {
    match tool {
        Tool::TopologyCompile => tools::compile::run(given),
        Tool::TopologyPublish => tools::publish::run(given),
        Tool::Audit => tools::audit::run(given),
        Tool::StateGive => tools::state::run(given),
        Tool::Top => tools::top::run(given, given.flag("metrics-bind-address")),
        Tool::Doctor => match settings(given, &[]) {
            Ok(config) => {
                logging::init(log::LevelFilter::Off, Format::Text);
                tools::doctor::run(given, &config)
            }
            Err(error) => usage(error),
        },
        Tool::Config => tools::flows::config(given, None),
        Tool::Flows if given.option("for").is_none() => tools::flows::run(given, given.flag("metrics-bind-address")),
        Tool::Flows => once(given, &[]),
        Tool::Replay => {
            let mut mode = OsString::from("-collector-mode=replay:");
            given.operands.iter().for_each(|file| mode.push(file));
            once(given, &[mode, "-standalone".into()])
        }
    }
}

/// Counts for a while, or plays a recording, and prints the rows.
fn once(given: &Given, more: &[OsString]) -> ExitCode {
    let for_ns = match given.word("for").map(|text| (text, duration::parse(text))) {
        None => 0,
        Some((_, Some(for_ns))) if for_ns >= SECOND => for_ns,
        Some((text, _)) => return usage(format!("invalid value {text:?} for -for: want a duration of at least 1s")),
    };
    if let Err(text) = tools::flows::check(given) {
        return usage(text);
    }
    let config = match settings(given, more) {
        Ok(config) => config,
        Err(error) => return usage(error),
    };
    // Rows alone are wanted; what is wrong is said all the same.
    let level = if config.log_level == log::LevelFilter::Info { log::LevelFilter::Warn } else { config.log_level };
    logging::init(level, config.log_format);
    let node_name = config.node_name.clone();
    match agent::once(config, for_ns) {
        Ok((snapshot, status)) => tools::flows::show(given, snapshot, &node_name, status),
        Err(error) => {
            logging::complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// The settings that a command's flags and the environment make.
fn settings(given: &Given, more: &[OsString]) -> Result<Config, UsageError> {
    let arguments = given.flags.iter().chain(more).cloned();
    let environment = |name: &str| std::env::var_os(name);
    config::settings_of(arguments, environment, nix::unistd::gethostname().ok())
}

fn usage(error: impl std::fmt::Display) -> ExitCode {
    logging::complain(&error);
    ExitCode::from(2)
}
