//! What the uplinks carried, and what became of it (rule 19).

use super::text::{head, sample};
use crate::audit::Account;
use crate::audit::equation::Part;
use crate::stats::Kind;

const CARRIED: &str = "netmon_interface_bytes_total";
const RECONCILED: &str = "netmon_reconciled_bytes_total";

/// Two families, a few kilobytes at most; nothing where nothing is audited.
pub(super) fn write(out: &mut Vec<u8>, accounts: &[Account]) {
    if accounts.is_empty() {
        return;
    }
    let flow = |account: &Account| if account.is_tx { "tx" } else { "rx" };
    head(out, CARRIED, "Layer-3 bytes that an uplink carried since the audit began.", Kind::Counter);
    for account in accounts {
        let labels = [("interface", account.interface()), ("flow", flow(account))];
        sample(out, CARRIED, &labels, account.shown.layer3_bytes(), 1);
    }
    head(
        out,
        RECONCILED,
        "What became of the bytes that an uplink carried: each part's highest value so far, what is negative as 0.",
        Kind::Counter,
    );
    for account in accounts {
        for part in Part::ALL {
            let labels = [("interface", account.interface()), ("flow", flow(account)), ("part", part.as_str())];
            sample(out, RECONCILED, &labels, account.shown.part(part), 1);
        }
    }
}
