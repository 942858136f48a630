//! What `flows`, `top` and `replay` ask of rows: their options, as a query of `/flows`.

use crate::config::tools::Given;
use crate::export::view::query::{By, Sort};
use crate::net::query::encoded;

use super::table::Style;

/// What is asked, in the words of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub by: By,
    pub sort: Sort,
    /// Empty for every class.
    pub class: String,
    pub scope: String,
    pub needle: String,
    pub limit: Option<usize>,
}

impl Asked {
    /// From the options, which are checked already but for numbers; `sort` stands where none is given.
    ///
    /// # Errors
    /// A sentence that says what is wanted.
    pub fn of(given: &Given, sort: Sort) -> Result<Asked, String> {
        let word = |name| given.word(name).unwrap_or_default().to_owned();
        let limit = match given.word("limit") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| format!("invalid value {text:?} for -limit: want a number"))?),
        };
        Ok(Asked {
            by: By::from_text(&word("by")).unwrap_or_default(),
            sort: Sort::from_text(&word("sort")).unwrap_or(sort),
            class: word("class"),
            scope: word("scope"),
            needle: word("match"),
            limit,
        })
    }

    /// The query, in one of the forms that `/flows` has.
    pub fn query(&self, format: &str) -> String {
        let mut query = format!("by={}&sort={}&format={format}", self.by.as_str(), self.sort.as_str());
        for (key, value) in [("class", &self.class), ("scope", &self.scope), ("match", &self.needle)] {
            if !value.is_empty() {
                query.push_str(&format!("&{key}={}", encoded(value)));
            }
        }
        if let Some(limit) = self.limit {
            query.push_str(&format!("&limit={limit}"));
        }
        query
    }
}

/// How texts are shown here. UTF-8 where the environment says so (locale(7)).
pub fn style(given: &Given, environment: impl Fn(&str) -> Option<String>) -> Style {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(environment).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_ascii_uppercase();
    Style { bits: given.option("bits").is_some(), utf8: locale.contains("UTF-8") || locale.contains("UTF8") }
}
