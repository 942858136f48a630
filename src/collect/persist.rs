//! The collector's part of the state file: everything that it needs to continue counting.
//!
//! It knows neither files ([`crate::state`]) nor the fate of batches (the push).

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use crate::clock::Now;
use crate::source::Source;
use crate::state::Gone;
use crate::state::bytes::{In, Persist, put_block};
use crate::wire::Malformed;

/// Encodes the tables. Only between sweeps.
pub fn tables(source: &dyn Source, pipeline: &Pipeline, freezer: &Freezer) -> Vec<u8> {
    let mut out = Vec::with_capacity(pipeline.persisted_bytes());
    Box::<str>::from(source.name()).put(&mut out);
    freezer.persist(&mut out);
    pipeline.persist(&mut out);
    let mut own = Vec::new();
    source.persist(&mut own);
    put_block(&mut out, &own);
    out
}

/// Continues from the tables of the state file; the tables here must still be empty. Baselines of another source, boot
/// or network namespace are of no use (`gone` names the latter two). What is seen first is then a baseline again. Rows
/// are restored whatever became of their connections.
///
/// # Errors
/// When the bytes are not such tables; those here are of no use then.
pub fn restore(
    tables: &[u8],
    gone: Option<Gone>,
    now: Now,
    source: &mut dyn Source,
    pipeline: &mut Pipeline,
    freezer: &mut Freezer,
) -> Result<(), Malformed> {
    let mut from = In(tables);
    let same_source = *Box::<str>::take(&mut from)? == *source.name() && gone.is_none();
    freezer.restore(&mut from)?;
    pipeline.restore(&mut from, same_source, gone != Some(Gone::Boot), now)?;
    let own = from.block()?;
    if same_source {
        source.restore(&mut In(own))?;
    }
    if from.0.is_empty() { Ok(()) } else { Err(Malformed) }
}
