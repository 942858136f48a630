//! Lines of `-topology`: whatever is taken is a table that answers, and each of its lines reads back as it is written.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use netmon::topology::Topology;
use netmon::topology::lines::{parse, parse_line};
use netmon::topology::names::{Learner, Names};

fuzz_target!(|text: &str| {
    let mut learner = Learner::new(Names::default());
    match parse(text, &mut learner, &[]) {
        Ok(parsed) => {
            let topology = Topology::new(Arc::new(parsed.table), Arc::new(learner.finish()), 1);
            let lines: Vec<_> =
                text.lines().filter_map(|line| parse_line(line).expect("the whole was taken")).collect();
            assert!(topology.ranges() <= lines.len());
            for line in lines {
                let written = line.to_string();
                assert_eq!(parse_line(&written), Ok(Some(line)));
                let longest = topology.charge(line.range.first(), false, true);
                assert!(!topology.names().service(longest.way.service()).contains(char::is_whitespace));
            }
        }
        Err(error) => {
            assert!(!error.to_string().contains(char::is_control), "one line");
            assert!(error.line as usize <= text.lines().count().max(1));
        }
    }
});
