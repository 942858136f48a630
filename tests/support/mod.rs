//! What several test programs share.

#![allow(dead_code)]

pub mod dakr_schema;
