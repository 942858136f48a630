//! Arguments to configuration, agent to exit code.

fn main() {}
