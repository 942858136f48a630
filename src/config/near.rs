//! Finds the known name that is closest to a misspelt one.

/// Returns the first of `names` with the smallest edit distance, if at most a third of the letters differ.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The cost is quadratic, and no name of ours has more than 64 letters.
    let letters = wrong.chars().count();
    if letters > 64 {
        return None;
    }
    let bound = (letters / 3).clamp(1, 4);
    let near = names.map(|name| (distance(wrong, name), name)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= bound).map(|(_, name)| name)
}

/// Levenshtein's distance: the number of letters to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (to, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let cost = (diagonal + usize::from(from != *to)).min(left + 1).min(*cell + 1);
            diagonal = std::mem::replace(cell, cost);
            left = cost;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
