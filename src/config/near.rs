//! Which of the known names was meant by a misspelt one.

/// The nearest of `names` by edit distance, if it is near enough to be meant. Of equals the first.
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // A third of its letters may be wrong. Longer texts than any name of ours are not worth the quadratic cost.
    let letters = wrong.chars().count();
    if letters > 64 {
        return None;
    }
    let bound = (letters / 3).clamp(1, 4);
    let near = names.map(|name| (distance(wrong, name), name)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= bound).map(|(_, name)| name)
}

/// Levenshtein's distance: how many letters to insert, delete or replace.
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
