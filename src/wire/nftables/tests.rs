use super::*;
use crate::wire::netlink::{Attributes, Messages};

#[test]
fn a_table_is_made_in_one_batch() {
    let request = create("t", CtKey::State, true);
    let messages: Vec<_> = Messages::of(&request.bytes).map(|m| m.expect("well formed")).collect();
    let kinds: Vec<u16> = messages.iter().map(|m| m.kind).collect();
    assert_eq!(kinds, [BATCH_BEGIN, NEW_TABLE, NEW_CHAIN, NEW_RULE, BATCH_END]);
    assert_eq!(messages.iter().filter(|m| m.flags & FLAG_ACK != 0).count(), request.answers);
    assert_eq!(messages[0].payload, [0, 0, 0, 10], "the subsystem in network order");
    let table: Vec<_> = Attributes::of(&messages[1].payload[4..]).map(|a| a.expect("well formed")).collect();
    assert_eq!(table[0].value, b"t\0");
    assert_eq!(table[1].value, TABLE_OWNER.to_be_bytes());
}

#[test]
fn the_rule_for_accounting_reads_original_bytes() {
    let request = create("t", CtKey::OriginalBytes, false);
    let rule = Messages::of(&request.bytes).nth(3).expect("the rule").expect("well formed");
    // NFTA_EXPR_NAME "ct", NFTA_EXPR_DATA of NFTA_CT_DREG 1, NFTA_CT_KEY 15, NFTA_CT_DIRECTION 0.
    let expression = [
        7, 0, 1, 0, b'c', b't', 0, 0, 28, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1, 8, 0, 2, 0, 0, 0, 0, 15, 5, 0, 3, 0, 0,
        0, 0, 0,
    ];
    assert!(rule.payload.ends_with(&expression), "{:?}", rule.payload);
}
