//! `zxporter-netmon top`: the rows of a running agent in a terminal, again and again.
//!
//! The loop alone; what keys do and what is drawn is [`face`]. Where there is no terminal one table is printed.

mod face;

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::sys::signal::Signal;

use self::face::{Act, Face, Mood, keys};
use super::table::Said;
use super::view::{Asked, style};
use super::{client, flows};
use crate::clock::{self, SECOND};
use crate::config::tools::Given;
use crate::export::view::query::Sort;
use crate::sys::signals::Signals;
use crate::sys::{poll, terminal};

/// Time between two questions.
const POLL_NS: u64 = 2 * SECOND;
/// A hung agent must not take the keys away for longer.
const PATIENCE_S: u64 = 4;

/// Runs until it is left. Status 1 where no agent answers at the start.
pub fn run(given: &Given, bound: Option<&str>) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if !is_terminal || matches!(variable("TERM").as_deref(), None | Some("" | "dumb")) {
        return flows::once(given, bound, Sort::Rate);
    }
    let asked = match Asked::of(given, Sort::Rate) {
        Ok(asked) => asked,
        Err(text) => {
            crate::logging::complain(&text);
            return ExitCode::from(2);
        }
    };
    let address = client::address(given.word("address").or(bound));
    let mut face = Face::new(asked, style(given, variable));
    // The first answer comes before the screen is taken: its error is to stay on it.
    let first = ask(&address, &face, size());
    let error = first.as_ref().err().cloned();
    face.take(first, 0);
    let shown = match error {
        Some(error) => Err(io::Error::other(error)),
        None => show(&address, &mut face),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::logging::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn show(address: &str, face: &mut Face) -> io::Result<()> {
    let of = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];
    let signals = Signals::block_these(&of)?;
    let _screen = terminal::Screen::take()?;
    let began_ns = clock::now().mono_ns;
    let mut due_ns = began_ns + POLL_NS;
    loop {
        draw(face, size())?;
        let wait_ns = due_ns.saturating_sub(clock::now().mono_ns);
        let ready = poll::readable(&[0, signals.raw_fd()], wait_ns);
        let mut asks = clock::now().mono_ns >= due_ns && !face.is_paused();
        if ready & 2 != 0 {
            match signals.next()? {
                Signal::SIGWINCH => asks = true,
                _ => return Ok(()),
            }
        }
        if ready & 1 != 0 {
            let mut bytes = [0; 64];
            let count = io::stdin().read(&mut bytes)?;
            if count == 0 {
                return Ok(());
            }
            for key in keys(bytes.get(..count).unwrap_or_default()) {
                match face.key(key) {
                    Act::Nothing => {}
                    Act::Ask => asks = true,
                    Act::Quit => return Ok(()),
                }
            }
        }
        if asks {
            let answer = ask(address, face, size());
            face.take(answer, clock::now().mono_ns.saturating_sub(began_ns) / SECOND);
        }
        if asks || clock::now().mono_ns >= due_ns {
            due_ns = clock::now().mono_ns + POLL_NS;
        }
    }
}

fn size() -> (usize, usize) {
    terminal::size(io::stdout().as_fd()).unwrap_or((80, 24))
}

fn ask(address: &str, face: &Face, (_, rows): (usize, usize)) -> Result<Said, String> {
    let text = client::get(address, &format!("/flows?{}", face.query(rows)), PATIENCE_S).map_err(|e| e.to_string())?;
    Said::read(&text).ok_or_else(|| format!("cannot read the answer of {address}: it is of no agent"))
}

/// Writes over what is there, so that nothing flickers (ECMA-48: CUP, EL, ED, SGR).
fn draw(face: &Face, (columns, rows): (usize, usize)) -> io::Result<()> {
    let mut text = String::from("\x1b[H");
    for (at, (line, mood)) in face.draw(columns, rows).iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        text.push_str(match mood {
            Mood::Plain => "",
            Mood::Strong => "\x1b[1m",
            Mood::Quiet => "\x1b[2m",
            Mood::Alarm => "\x1b[7m",
        });
        text.push_str(line);
        text.push_str("\x1b[0m\x1b[K");
    }
    text.push_str("\x1b[J");
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())
}
