use super::*;

fn query(text: &str) -> Query {
    Query::parse(text).unwrap_or_else(|refused| panic!("{text}: {refused}")).unwrap_or_else(|| panic!("{text}: empty"))
}

fn refused(text: &str) -> String {
    Query::parse(text).expect_err(text).to_string()
}

#[test]
fn nothing_asked_is_no_query_and_every_word_has_its_place() {
    assert_eq!(Query::parse(""), Ok(None));
    assert_eq!(query("limit=7"), Query { limit: Some(7), ..Query::default() });
    for by in By::ALL {
        assert_eq!(query(&format!("by={}", by.as_str())).by, by);
    }
    for sort in Sort::ALL {
        assert_eq!(query(&format!("sort={}", sort.as_str())).sort, sort);
    }
    for format in Format::ALL {
        assert_eq!(query(&format!("format={}", format.as_str())).format, format);
    }
    for class in Class::ALL {
        assert_eq!(query(&format!("class={}&limit=1", class.as_str())).class, Some(class));
    }
    for scope in Scope::ALL {
        assert_eq!(query(&format!("by=port&scope={}", scope.as_str())).scope, Some(scope));
    }
}

#[test]
fn what_is_looked_for_is_decoded_and_in_lower_case() {
    assert_eq!(query("match=Shop%2FWeb+0%C3%A9").needle.bytes(), "shop/web 0é".as_bytes());
    assert_eq!(query("match=").needle, Needle::NONE);
    assert_eq!(query(&format!("match={}", "x".repeat(MATCH_BYTES))).needle.bytes().len(), MATCH_BYTES);
    for bad in ["%", "%4", "%zz", &"x".repeat(MATCH_BYTES + 1)] {
        assert!(refused(&format!("match={bad}")).contains("want at most 64 bytes, percent-encoded"), "{bad}");
    }
}

#[test]
fn what_there_is_not_is_refused_with_what_there_is() {
    assert_eq!(
        refused("limit=5&colour=red"),
        "there is no \"colour\": want by, sort, match, class, scope, limit, format"
    );
    assert_eq!(refused("sort=big"), "sort cannot be \"big\": want rate, tx, rx, bytes");
    assert_eq!(
        refused("by=pod"),
        "by cannot be \"pod\": want row, owner, workload, namespace, remote, port, class, scope"
    );
    for bad in ["x", "0", "-1", "100001", "", "1e3"] {
        assert_eq!(refused(&format!("limit={bad}")), format!("limit cannot be {bad:?}: want 1 to 100000"));
    }
    assert_eq!(refused("limit=1&limit=2"), "limit is given twice");
    assert!(refused("&").starts_with("there is no \"\""), "an empty pair is a slip");
    let long = refused(&"ü\u{1b}".repeat(500));
    assert!(long.len() < 300 && !long.contains('\u{1b}'), "{long}");
}
