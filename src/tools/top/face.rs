//! What `top` shows and what its keys do, without a terminal.

use std::collections::VecDeque;

use crate::export::view::query::{By, MATCH_BYTES, Sort};
use crate::flow::Class;
use crate::tools::flows::{Of, none};
use crate::tools::table::{Said, Style, amount, cut, rate};
use crate::tools::view::Asked;

/// Lines that are not rows: two of heads, one blank, the table's head, the keys.
const FRAME: usize = 5;
/// Rates that are remembered.
const HISTORY: usize = 24;

const HELP: &[&str] = &[
    "Tab      group by the next of: row, owner, workload, namespace, remote, port, class, scope",
    "r t x b  sort by rate, rate sent, rate received, bytes",
    "c        only the next class: all, inside, outside, overlay, multicast",
    "/        only what holds a text: owner, workload, remote end, port, service; Enter keeps it, Esc drops it",
    "u        bits or bytes in a second",
    "space    pause",
    "arrows   up and down, also by pages",
    "q        quit",
    "",
    "Rates are those of the agent's last sweep. tx is sent by the local end, rx received by it.",
];

/// What a key asks of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// To ask the agent now.
    Ask,
    Quit,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Plain,
    Strong,
    Quiet,
    Alarm,
}

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Text(u8),
    Tab,
    Enter,
    Back,
    Escape,
    Up,
    Down,
    PageUp,
    PageDown,
}

/// The keys in what a terminal sends (xterm's control sequences); what is not known is left out.
pub fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            b'\x1b' => match behind {
                [b'[' | b'O', sequence @ ..] => {
                    let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte));
                    let end = end.map_or(sequence.len(), |end| end + 1);
                    keys.extend(match sequence.get(..end).unwrap_or_default() {
                        b"A" => Some(Key::Up),
                        b"B" => Some(Key::Down),
                        b"5~" => Some(Key::PageUp),
                        b"6~" => Some(Key::PageDown),
                        _ => None,
                    });
                    rest = sequence.get(end..).unwrap_or_default();
                }
                _ => keys.push(Key::Escape),
            },
            b'\t' => keys.push(Key::Tab),
            b'\r' | b'\n' => keys.push(Key::Enter),
            8 | 0x7f => keys.push(Key::Back),
            // Names and addresses are ASCII.
            byte if *byte == b' ' || byte.is_ascii_graphic() => keys.push(Key::Text(*byte)),
            _ => {}
        }
    }
    keys
}

/// The state of the screen.
pub struct Face {
    asked: Asked,
    style: Style,
    is_paused: bool,
    shows_help: bool,
    /// The text that is being typed.
    typing: Option<String>,
    /// Lines above the first that is shown.
    offset: usize,
    said: Said,
    /// Why the last question had no answer, and when the last answer came.
    trouble: String,
    heard_s: u64,
    now_s: u64,
    tx: VecDeque<u64>,
    rx: VecDeque<u64>,
}

impl Face {
    /// Before the first answer.
    pub fn new(asked: Asked, style: Style) -> Face {
        Face {
            asked,
            style,
            is_paused: false,
            shows_help: false,
            typing: None,
            offset: 0,
            said: Said::default(),
            trouble: String::new(),
            heard_s: 0,
            now_s: 0,
            tx: VecDeque::with_capacity(HISTORY),
            rx: VecDeque::with_capacity(HISTORY),
        }
    }

    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The query for as many lines as are shown.
    pub fn query(&self, rows: usize) -> String {
        let shown = self.offset + rows.saturating_sub(FRAME).max(1);
        let limit = self.asked.limit.map_or(shown, |limit| limit.min(shown));
        Asked { limit: Some(limit), ..self.asked.clone() }.query("tsv")
    }

    /// Takes an answer, `now_s` seconds after the beginning.
    pub fn take(&mut self, answer: Result<Said, String>, now_s: u64) {
        self.now_s = now_s;
        match answer {
            Ok(said) => {
                for (history, name) in [(&mut self.tx, "tx_rate"), (&mut self.rx, "rx_rate")] {
                    if history.len() == HISTORY {
                        history.pop_front();
                    }
                    history.push_back(said.number(name));
                }
                self.offset = self.offset.min(said.len().saturating_sub(1));
                self.said = said;
                self.heard_s = now_s;
                self.trouble.clear();
            }
            Err(error) => self.trouble = error,
        }
    }

    /// Does what a key asks.
    pub fn key(&mut self, key: Key) -> Act {
        if let Some(text) = &mut self.typing {
            match key {
                Key::Text(byte) if text.len() < MATCH_BYTES => text.push(char::from(byte)),
                Key::Back => _ = text.pop(),
                Key::Enter => self.typing = None,
                Key::Escape => {
                    self.typing = None;
                    return self.look_for(String::new());
                }
                _ => return Act::Nothing,
            }
            let text = self.typing.clone();
            return text.map_or(Act::Nothing, |text| self.look_for(text));
        }
        self.shows_help = false;
        match key {
            Key::Tab => {
                self.asked.by = next(&By::ALL, self.asked.by);
                self.afresh()
            }
            Key::Text(b'r') => self.sort(Sort::Rate),
            Key::Text(b't') => self.sort(Sort::Tx),
            Key::Text(b'x') => self.sort(Sort::Rx),
            Key::Text(b'b') => self.sort(Sort::Bytes),
            Key::Text(b'c') => {
                let classes = [""].into_iter().chain(Class::ALL.map(Class::as_str)).collect::<Vec<&str>>();
                let at = classes.iter().position(|class| *class == self.asked.class).unwrap_or(0);
                self.asked.class = classes.get(at + 1).copied().unwrap_or_default().to_owned();
                self.afresh()
            }
            Key::Text(b'/') => {
                self.typing = Some(self.asked.needle.clone());
                Act::Nothing
            }
            Key::Text(b'u') => {
                self.style.bits = !self.style.bits;
                Act::Nothing
            }
            Key::Text(b' ') => {
                self.is_paused = !self.is_paused;
                if self.is_paused { Act::Nothing } else { Act::Ask }
            }
            Key::Text(b'?') => {
                self.shows_help = true;
                Act::Nothing
            }
            Key::Text(b'q') => Act::Quit,
            Key::Escape if !self.asked.needle.is_empty() => self.look_for(String::new()),
            Key::Down | Key::Text(b'j') => self.scroll(1),
            Key::PageDown => self.scroll(10),
            Key::Up | Key::Text(b'k') => self.scroll(-1),
            Key::PageUp => self.scroll(-10),
            Key::Text(_) | Key::Enter | Key::Back | Key::Escape => Act::Nothing,
        }
    }

    fn scroll(&mut self, lines: isize) -> Act {
        self.offset = self.offset.saturating_add_signed(lines);
        Act::Ask
    }

    fn sort(&mut self, sort: Sort) -> Act {
        self.asked.sort = sort;
        self.afresh()
    }

    fn look_for(&mut self, text: String) -> Act {
        self.asked.needle = text;
        self.afresh()
    }

    /// Another question begins at the top.
    fn afresh(&mut self) -> Act {
        self.offset = 0;
        Act::Ask
    }

    /// The lines of a screen, none wider than it.
    pub fn draw(&self, columns: usize, rows: usize) -> Vec<(String, Mood)> {
        let mut lines = vec![(self.title(), Mood::Strong)];
        match self.trouble.as_str() {
            "" => lines.push((self.totals(columns), Mood::Plain)),
            why => {
                let ago = self.now_s.saturating_sub(self.heard_s);
                lines.push((format!("no answer for {ago} s: {why}"), Mood::Alarm));
            }
        }
        lines.push((String::new(), Mood::Plain));
        if self.shows_help {
            lines.extend(HELP.iter().map(|line| ((*line).to_owned(), Mood::Plain)));
        } else {
            let mut table = self.said.table(self.style, Some(columns)).into_iter();
            lines.extend(table.next().map(|head| (head, Mood::Strong)));
            let mood = if self.trouble.is_empty() { Mood::Plain } else { Mood::Quiet };
            lines.extend(table.skip(self.offset).map(|line| (line, mood)));
            if self.said.is_empty() {
                lines.push((none(&self.said, Of::Agent), Mood::Quiet));
            }
        }
        lines.truncate(rows.saturating_sub(1));
        lines.resize_with(rows.saturating_sub(1), || (String::new(), Mood::Plain));
        lines.push((self.keys(columns), Mood::Quiet));
        lines.iter().take(rows).map(|(line, mood)| (cut(line, columns, self.style), *mood)).collect()
    }

    fn title(&self) -> String {
        let about = |name| self.said.about(name);
        let (rows, matched) = (about("rows"), about("matched"));
        let of = if rows == matched { format!("rows {rows}") } else { format!("rows {matched} of {rows}") };
        let paused = if self.is_paused { "  paused" } else { "" };
        format!("zxporter-netmon  {}  {}  {of}{paused}", about("node"), about("status"))
    }

    fn totals(&self, columns: usize) -> String {
        let number = |name: &str| self.said.number(name);
        // Bars have what the texts leave.
        let bars = if columns >= 110 { HISTORY / 2 } else { 3 };
        let one = |name: &str, history: &VecDeque<u64>| {
            format!("{:>12} {:bars$}", rate(number(name), self.style), bar(history, bars, self.style))
        };
        let since = match self.said.about("swept_ms_ago") {
            "" => String::new(),
            _ if columns < 100 => String::new(),
            _ => format!("; last sweep {} s ago", number("swept_ms_ago") / 1000),
        };
        format!(
            "tx {}  rx {}  since start {} tx, {} rx{since}",
            one("tx_rate", &self.tx),
            one("rx_rate", &self.rx),
            amount(number("tx_bytes"), "B"),
            amount(number("rx_bytes"), "B"),
        )
    }

    fn keys(&self, columns: usize) -> String {
        if let Some(text) = &self.typing {
            return format!("filter: {text}_   Enter keeps it, Esc drops it");
        }
        let dot = if self.style.utf8 { " · " } else { " | " };
        let by = match self.asked.by {
            By::Row => "by rows".to_owned(),
            by => format!("by {}", by.as_str()),
        };
        let mut text = format!("{by}{dot}sorted by {}{dot}", self.asked.sort.as_str());
        for (name, value) in [("", &self.asked.class), ("", &self.asked.scope), ("with ", &self.asked.needle)] {
            if !value.is_empty() {
                text.push_str(&format!("{name}{value}{dot}"));
            }
        }
        let keys = match columns {
            ..100 => "Tab r t x b c / u space  ? help  q quit",
            _ => "Tab group  r t x b sort  c class  / filter  u bits  space pause  ? help  q quit",
        };
        text + keys
    }
}

fn next<T: Copy + PartialEq>(all: &[T], now: T) -> T {
    let at = all.iter().position(|one| *one == now).map_or(0, |at| at + 1);
    all.get(at).or(all.first()).copied().unwrap_or(now)
}

/// The last values, against the highest that is remembered.
fn bar(history: &VecDeque<u64>, width: usize, style: Style) -> String {
    let steps: &[char] = match style.utf8 {
        true => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        false => &['_', '.', '-', '=', '#'],
    };
    let highest = u128::from(history.iter().copied().max().unwrap_or(0).max(1));
    let last = history.iter().skip(history.len().saturating_sub(width));
    let step = |value: &u64| (u128::from(*value) * (steps.len() as u128 - 1)).div_ceil(highest);
    last.filter_map(|value| steps.get(usize::try_from(step(value)).unwrap_or(0))).collect()
}

#[cfg(test)]
mod tests;
