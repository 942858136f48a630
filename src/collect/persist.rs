//! The collector's part of the state file: everything that it needs to continue counting.
//!
//! It knows neither files ([`crate::state`]) nor the fate of batches (the push).

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use crate::source::Source;
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

/// Restores empty tables. Baselines of another source are not valid: the first sweep sets new ones.
///
/// # Errors
/// If the bytes are malformed or do not fit the tables, which must then be discarded.
pub fn restore(
    tables: &[u8],
    source: &mut dyn Source,
    pipeline: &mut Pipeline,
    freezer: &mut Freezer,
) -> Result<(), Malformed> {
    let mut from = In(tables);
    let same_source = *Box::<str>::take(&mut from)? == *source.name();
    freezer.restore(&mut from)?;
    pipeline.restore(&mut from, same_source)?;
    let own = from.block()?;
    if same_source {
        source.restore(&mut In(own))?;
    }
    if from.0.is_empty() { Ok(()) } else { Err(Malformed) }
}
