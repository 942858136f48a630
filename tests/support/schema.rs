//! Reads a push as an independent protobuf implementation does.

use netmon::flow::{Counts, TxRx};
use prost::Message;

use super::dakr_schema::SendNetworkTrafficMetricsRequest;

/// One item of a request: its bytes, by which a store recognises a repeat, and what it carries.
pub struct Item {
    pub bytes: Vec<u8>,
    pub counts: TxRx,
}

pub fn items(body: &[u8]) -> Vec<Item> {
    let request = SendNetworkTrafficMetricsRequest::decode(body).expect("a request");
    let counts = |bytes: i64, packets: i64| Counts { bytes: bytes as u64, packets: packets as u64 };
    request
        .items
        .iter()
        .map(|item| Item {
            bytes: item.encode_to_vec(),
            counts: TxRx { tx: counts(item.tx_bytes, item.tx_packets), rx: counts(item.rx_bytes, item.rx_packets) },
        })
        .collect()
}
