//! Lays out what the agent says in lines of fields: a table that people read, as wide as it may be.
//!
//! It knows the form `tsv` of [`crate::export::view`], and no I/O.

use std::fmt::Write;

/// How texts are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Bits in a second, not bytes.
    pub bits: bool,
    /// Whether arrows and the like can be shown.
    pub utf8: bool,
}

/// What the agent said: a line of names and values, a line of columns, lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    about: Vec<(String, String)>,
    columns: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Said {
    /// Reads it; `None` where it is something else.
    pub fn read(text: &str) -> Option<Said> {
        let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<String>>());
        let about = lines.next().filter(|first| first.first().is_some_and(|mark| mark == "#"))?;
        let pairs = about.get(1..)?.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone()));
        Some(Said { about: pairs.collect(), columns: lines.next()?, lines: lines.collect() })
    }

    /// A value of the first line; empty where there is none.
    pub fn about(&self, name: &str) -> &str {
        self.about.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Such a value as a number.
    pub fn number(&self, name: &str) -> u64 {
        self.about(name).parse().unwrap_or(0)
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn field<'a>(&self, line: &'a [String], column: &str) -> &'a str {
        let at = self.columns.iter().position(|known| known == column);
        at.and_then(|at| line.get(at)).map_or("", String::as_str)
    }

    /// The table, its head first. `width`: as many columns at most; texts are cut where they must be.
    pub fn table(&self, style: Style, width: Option<usize>) -> Vec<String> {
        let is_rows = self.columns.first().is_some_and(|first| first == "owner")
            && self.columns.iter().any(|column| column == "remote");
        let per_second = if style.bits { "bit/s" } else { "/s" };
        let amounts = [format!("TX{per_second}"), format!("RX{per_second}"), "TX".to_owned(), "RX".to_owned()];
        let mut cells: Vec<Vec<String>> = Vec::with_capacity(self.lines.len() + 1);
        let mut head = match is_rows {
            true => ["OWNER", "REMOTE", "PORT", "CLASS"].map(str::to_owned).to_vec(),
            false => vec![self.columns.first().map_or_else(String::new, |by| by.to_uppercase()), "ROWS".to_owned()],
        };
        head.extend(amounts);
        cells.push(head);
        for line in &self.lines {
            let field = |column| self.field(line, column);
            let mut row = match is_rows {
                true => {
                    let (name, address) = (field("remote_name"), field("remote"));
                    let space = if name.is_empty() { "" } else { " " };
                    let arrow = match (field("direction"), style.utf8) {
                        ("inbound", true) => "←",
                        ("inbound", false) => "<-",
                        (_, true) => "→",
                        (_, false) => "->",
                    };
                    let port = field("port");
                    let port = if port == "0" { String::new() } else { format!("{port}/") };
                    vec![
                        field("owner").to_owned(),
                        format!("{arrow} {name}{space}{address}"),
                        format!("{port}{}", field("protocol")),
                        field("class").to_owned(),
                    ]
                }
                false => vec![line.first().cloned().unwrap_or_default(), field("rows").to_owned()],
            };
            let number = |column| field(column).parse().unwrap_or(0);
            row.push(rate(number("tx_rate"), style));
            row.push(rate(number("rx_rate"), style));
            row.push(amount(number("tx_bytes"), "B"));
            row.push(amount(number("rx_bytes"), "B"));
            cells.push(row);
        }
        // Texts are on the left, numbers on the right.
        let texts = if is_rows { 4 } else { 1 };
        laid_out(&cells, texts, style, width)
    }
}

/// Bytes or bits in a second.
pub fn rate(bytes: u64, style: Style) -> String {
    if style.bits { amount(bytes.saturating_mul(8), "bit/s") } else { amount(bytes, "B/s") }
}

/// Three digits and a unit, by thousands.
pub fn amount(n: u64, unit: &str) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let n = u128::from(n);
    let mut one: u128 = 1;
    let mut prefix = 0;
    // In thousandths of the unit, rounded half up.
    while (n * 10 + one * 5) / (one * 10) >= 1_000 && prefix < 6 {
        one *= 1_000;
        prefix += 1;
    }
    let hundredths = (n * 100 + one / 2) / one;
    let prefix = PREFIXES[prefix];
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (one, hundredths) {
        (1, _) => write!(text, "{n}"),
        (_, ..1_000) => write!(text, "{}.{:02}", hundredths / 100, hundredths % 100),
        _ => {
            let tenths = (n * 10 + one / 2) / one;
            match tenths {
                ..1_000 => write!(text, "{}.{}", tenths / 10, tenths % 10),
                _ => write!(text, "{}", (n + one / 2) / one),
            }
        }
    };
    text + " " + prefix + unit
}

/// Columns as wide as their widest cell; where that is too much, the first two give way.
fn laid_out(cells: &[Vec<String>], texts: usize, style: Style, width: Option<usize>) -> Vec<String> {
    const GAP: usize = 2;
    let columns = cells.first().map_or(0, Vec::len);
    let wide =
        |at: usize| cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns).map(wide).collect();
    if let Some(width) = width {
        // Whichever of the first two is wider, down to the widths of their heads.
        let elastic = if texts == 1 { 1 } else { 2 };
        while widths.iter().sum::<usize>() + GAP * columns.saturating_sub(1) > width {
            let widest = (0..elastic).max_by_key(|at| widths[*at]).filter(|at| widths[*at] > 8);
            let Some(at) = widest else { break };
            widths[at] -= 1;
        }
    }
    let lines = cells.iter().map(|row| {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let cell = cut(cell, *width, style);
            let gap = if at == 0 { 0 } else { GAP };
            let _ = match at < texts {
                true => write!(line, "{:gap$}{cell:width$}", "", width = *width),
                false => write!(line, "{:gap$}{cell:>width$}", "", width = *width),
            };
        }
        let line = line.trim_end().to_owned();
        // What is left too wide (a narrow terminal) is cut at its end.
        width.map_or(line.clone(), |width| cut(&line, width, style))
    });
    lines.collect()
}

/// At most `width` characters; what is cut ends in a mark.
pub fn cut(text: &str, width: usize, style: Style) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mark = if style.utf8 { '…' } else { '~' };
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some(mark)).collect()
}

#[cfg(test)]
mod tests;
