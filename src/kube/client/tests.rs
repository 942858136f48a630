//! What needs no server: for how long a credential is used.

use super::*;

#[test]
fn f11_a_credential_lasts_as_long_as_it_had_left_whatever_the_clock_is_set_to() {
    let wall_ns = 1_700_000_000 * SECOND;
    let now = Now { mono_ns: 50 * SECOND, wall_ns };
    assert_eq!(used_until_ns(now, None), u64::MAX);
    assert_eq!(used_until_ns(now, Some(wall_ns + 3600 * SECOND)), (50 + 3540) * SECOND);
    // Our clock is ahead by years: what was just given seems to be over, and the plugin does not run for each request.
    for expires in [wall_ns, wall_ns - 1, wall_ns - 100_000_000 * SECOND, 0] {
        assert_eq!(used_until_ns(now, Some(expires)), (50 + 60) * SECOND);
    }
    assert_eq!(used_until_ns(Now { mono_ns: 1, wall_ns: u64::MAX }, Some(u64::MAX)), 1 + 60 * SECOND);
}
