//! The few nf_tables requests that we make (`include/uapi/linux/netfilter/nf_tables.h`): a table, a chain without a
//! hook, a rule that uses conntrack.
//!
//! No packet ever traverses a chain without a hook; what counts is that the rule exists. A `ct bytes` expression makes
//! the kernel switch accounting on (`nf_ct_set_acct`). Any `ct` expression makes it track connections
//! (`nf_ct_netns_get`) for as long as the rule exists.

use super::netlink::Writer;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const FLAG_REQUEST: u16 = 0x1;
const FLAG_ACK: u16 = 0x4;
const FLAG_CREATE: u16 = 0x400;
/// `NFPROTO_INET`.
const FAMILY_INET: u8 = 1;
/// `NFT_TABLE_F_OWNER`: the table goes when the socket that made it is closed (kernel 5.12).
const TABLE_OWNER: u32 = 0x2;
const CHAIN: &str = "no-hook";

/// What a rule reads of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtKey {
    /// `ct state`.
    State,
    /// `ct original bytes`.
    OriginalBytes,
}

/// A request, and how many acknowledgements it is answered with.
#[derive(Debug)]
pub struct Request {
    /// The datagram.
    pub bytes: Vec<u8>,
    /// Messages that the kernel acknowledges or refuses, one by one.
    pub answers: usize,
}

/// Makes table `name` with one rule. With `owned` it belongs to the socket that sends the request.
pub fn create(name: &str, key: CtKey, owned: bool) -> Request {
    batch(3, |w| {
        message(w, NEW_TABLE, FLAG_CREATE, 1);
        w.attribute(1, &c_string(name));
        w.attribute(2, &(if owned { TABLE_OWNER } else { 0 }).to_be_bytes());
        message(w, NEW_CHAIN, FLAG_CREATE, 2);
        w.attribute(1, &c_string(name));
        w.attribute(3, &c_string(CHAIN));
        message(w, NEW_RULE, FLAG_CREATE, 3);
        w.attribute(1, &c_string(name));
        w.attribute(2, &c_string(CHAIN));
        w.nested(4, |w| w.nested(1, |w| expression(w, key)));
    })
}

/// Deletes table `name`.
pub fn delete(name: &str) -> Request {
    batch(1, |w| {
        message(w, DELETE_TABLE, 0, 1);
        w.attribute(1, &c_string(name));
    })
}

/// Asks for table `name`; refused with ENOENT where there is none.
pub fn get(name: &str) -> Request {
    let mut w = Writer::default();
    message(&mut w, GET_TABLE, 0, 1);
    w.attribute(1, &c_string(name));
    Request { bytes: w.finish(), answers: 1 }
}

fn expression(w: &mut Writer, key: CtKey) {
    /// `NFT_REG_1`.
    const REGISTER: u32 = 1;
    w.attribute(1, &c_string("ct"));
    w.nested(2, |w| {
        w.attribute(1, &REGISTER.to_be_bytes());
        match key {
            CtKey::State => w.attribute(2, &0u32.to_be_bytes()),
            CtKey::OriginalBytes => {
                w.attribute(2, &NFT_CT_BYTES.to_be_bytes());
                // IP_CT_DIR_ORIGINAL.
                w.attribute(3, &[0]);
            }
        }
    });
}

/// `NFT_CT_BYTES`.
const NFT_CT_BYTES: u32 = 15;

fn batch(answers: usize, fill: impl FnOnce(&mut Writer)) -> Request {
    let mut w = Writer::default();
    // The subsystem stands in the resource id, in network order.
    let header = [0, 0, 0, 10];
    w.message(BATCH_BEGIN, FLAG_REQUEST, 0);
    w.raw(&header);
    fill(&mut w);
    w.message(BATCH_END, FLAG_REQUEST, 9);
    w.raw(&header);
    Request { bytes: w.finish(), answers }
}

fn message(w: &mut Writer, kind: u16, flags: u16, seq: u32) {
    w.message(kind, FLAG_REQUEST | FLAG_ACK | flags, seq);
    w.raw(&[FAMILY_INET, 0, 0, 0]);
}

fn c_string(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
