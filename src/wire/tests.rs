//! The claim of the module's head: every reader has a fuzz target.

use std::fs;
use std::path::Path;

/// The functions of a module that read bytes: they take some, and return what may be malformed.
fn readers(source: &str) -> Vec<&str> {
    let signatures = source.split("pub fn ").skip(1).filter_map(|rest| rest.split(" {\n").next());
    let reads = |it: &&str| ["&[u8", "&'a [u8", "(&self"].iter().any(|bytes| it.contains(bytes));
    let fallible = signatures.filter(reads).filter(|it| it.contains("Malformed>") || it.contains("Corrupt>"));
    fallible.filter_map(|signature| signature.split(['(', '<']).next()).collect()
}

#[test]
fn every_reader_has_a_fuzz_target() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let targets: Vec<String> = fs::read_dir(root.join("fuzz/targets"))
        .expect("the fuzz targets")
        .map(|entry| read(&entry.expect("an entry").path()))
        .collect();
    let list = read(&root.join("fuzz/Cargo.toml"));
    assert_eq!(list.matches("[[bin]]").count(), targets.len(), "each target is built");
    let mut seen = 0;
    for line in read(&root.join("src/wire/mod.rs")).lines() {
        let Some(module) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        for reader in readers(&read(&root.join(format!("src/wire/{module}.rs")))) {
            let fuzzes =
                |target: &String| target.contains(&format!("wire::{module}")) && target.contains(&format!("{reader}("));
            assert!(targets.iter().any(fuzzes), "wire::{module}::{reader} has no fuzz target");
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} readers were found");
}
