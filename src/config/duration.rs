//! Durations in Go's syntax (<https://pkg.go.dev/time#ParseDuration>), without signs: no setting may be negative.

/// Parses `5s`, `1.5h`, `1m30s` or `100ms` to nanoseconds. Returns `None` for what Go refuses, for a sign, and above
/// 2⁶³ - 1 ns (292 years), Go's limit. Digits below a nanosecond are cut off.
pub fn parse(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    if text.is_empty() {
        return None;
    }
    let mut total_ns: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let (whole, after) = split_digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), split_digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, next) = after.split_at(after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len()));
        let unit_ns = unit_ns(unit)?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        let part_ns = whole.checked_mul(unit_ns)?.checked_add(fraction_ns(fraction, unit_ns))?;
        total_ns = total_ns.checked_add(part_ns)?;
        rest = next;
    }
    (total_ns <= i64::MAX as u64).then_some(total_ns)
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Converts decimal digits to their share of a unit, in nanoseconds.
#[allow(clippy::cast_possible_truncation, reason = "a share of a unit is less than the unit")]
fn fraction_ns(digits: &str, unit_ns: u64) -> u64 {
    // An hour has less than 10¹³ nanoseconds, so digits beyond the eighteenth change nothing.
    let mut share_ns: u64 = 0;
    let (mut value, mut scale): (u128, u128) = (0, 1);
    for digit in digits.bytes().take(18) {
        value = value * 10 + u128::from(digit.wrapping_sub(b'0'));
        scale *= 10;
        share_ns = (value * u128::from(unit_ns) / scale) as u64;
    }
    share_ns
}

fn unit_ns(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // The micro sign, and the Greek letter that looks like it.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
