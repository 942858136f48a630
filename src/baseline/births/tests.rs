use super::*;

#[test]
fn a_birth_is_never_told_later_than_it_is_known_and_the_last_are_exact() {
    let (mut births, mut table) = (Births::new(), Table::with_capacity(1));
    let mut born: Vec<(u8, u64)> = Vec::new();
    let joined = |span: u8| if span < NOW / 2 { span / 2 } else { span - NOW / 2 + NOW / 4 };
    for sweep in 1..2_000u64 {
        born.push((births.current(), sweep));
        let before = births.current();
        births.end_span(sweep, &mut table);
        if births.current() <= before {
            born.iter_mut().for_each(|(span, _)| *span = joined(*span));
        }
        for (span, began) in &born {
            let until = births.until_ns(*span).expect("its span is over");
            assert!(until >= *began, "{began} is told as {until}");
            assert!(sweep - began >= 32 || until == *began, "{began} is told as {until} at {sweep}");
        }
        assert_eq!(births.until_ns(births.current()), None);
    }
}
