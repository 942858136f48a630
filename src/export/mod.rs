//! Where rows go.

pub mod dakr;
pub mod json;
pub mod prometheus;
pub mod view;
