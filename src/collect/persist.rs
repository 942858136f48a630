//! The collector's part of the state file: everything that it needs to go on counting where it stood.
//!
//! Knows neither files nor what became of batches; that is [`crate::state`]'s and the push's.

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use crate::source::Source;
use crate::state::bytes::{In, Persist, put_block};
use crate::wire::Malformed;

/// The tables as they stand. Between sweeps only.
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

/// Goes on from the tables, with tables that are still empty. Baselines of another source are of no use: then what is
/// seen first is a baseline again.
///
/// # Errors
/// When the bytes are not such the tables, or do not fit the tables, which are of no use then.
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
