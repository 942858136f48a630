//! The state file: as it came, and what stands within its checksum, which is a guard against harm and not against malice.
//! Two bytes say how long the tables is; the batch follows it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::clock::Now;
use netmon::collect::freezer::{Freezer, Sender};
use netmon::collect::persist;
use netmon::collect::pipeline::Pipeline;
use netmon::config::{self, Command, DakrProtocol};
use netmon::export::dakr::jitter::Jitter;
use netmon::export::dakr::retry::Delivery;
use netmon::state::bytes::In;
use netmon::state::{Place, decode};

#[path = "../../tests/support/silent.rs"]
mod silent;
use silent::Silent;

const NOW: Now = Now { mono_ns: 1, wall_ns: 1 };

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes, &Place { boot_id: "b".into(), netns: 1 });
    let Some((len, rest)) = bytes.split_first_chunk() else { return };
    let (tables, batch) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes(*len))));
    let arguments = ["-standalone", "-max-rows", "1024"].map(Into::into);
    let Ok(Command::Run(config)) = config::parse(arguments, |_| None, Some("n".into())) else {
        panic!("plain flags");
    };
    let mut pipeline = Pipeline::new(&config, 64, 1);
    let mut freezer = Freezer::new(Sender { node_name: "n".into(), cluster_id: String::new() });
    if persist::restore(tables, None, NOW, &mut Silent, &mut pipeline, &mut freezer).is_ok() {
        assert!(pipeline.ledger().is_balanced());
        let again = persist::tables(&Silent, &pipeline, &freezer);
        let mut other = Pipeline::new(&config, 64, 1);
        let restored = persist::restore(&again, None, NOW, &mut Silent, &mut other, &mut freezer);
        assert!(restored.is_ok(), "what was restored can be saved and restored");
        pipeline.cleanup(NOW, 0);
    }
    let mut delivery = Delivery::new(DakrProtocol::Connect, 1, Jitter::new(1));
    let _ = delivery.resume(&mut In(batch), Vec::new(), true, 1);
    while delivery.next(2).is_ok() {
        delivery.finish(false, &mut Vec::new());
    }
});
