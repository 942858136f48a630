//! What the product counts in a real cluster, judged to the byte: the program that `script/cluster` runs on the node, and
//! the same program in the pods.
//!
//! ```text
//! cluster [WORD...]      the cases, or those whose name contains one of the words; on the node, from script/cluster alone
//! cluster actor NAME     in a pod: sends and serves what the cases say
//! cluster send ...       in a pod: one transfer
//! cluster dakr PORT      in a pod: takes pushes, and shows what it counted
//! ```
//!
//! | part | duty |
//! | --- | --- |
//! | [`actor`], [`dakr`] | what pods run |
//! | [`kube`], [`node`] | objects by kubectl; the node's parts, its world beyond, the product's endpoints |
//! | [`truth`], [`judge`] | what nft counted; what `/flows` and DAKR must say of it |
//! | [`case`] | the cases, one group a file |

mod actor;
mod case;
mod dakr;
#[path = "../support/dakr_schema.rs"]
mod dakr_schema;
mod judge;
mod kube;
mod node;
mod truth;

use std::process::ExitCode;

use netmon::clock::{self, SECOND};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["actor", name] => actor::run(name),
        ["send", ref rest @ ..] => actor::send_once(rest),
        ["dakr", port] => dakr::run(port),
        _ if std::env::var_os("CLUSTER_INSIDE").is_none() => {
            println!("run by script/cluster, which makes the cluster");
            println!("test result: ok. 0 passed; 0 failed; 1 skipped");
            ExitCode::SUCCESS
        }
        ref wanted => run(wanted),
    }
}

fn run(wanted: &[&str]) -> ExitCode {
    let cluster = match node::Cluster::new() {
        Ok(cluster) => cluster,
        Err(error) => {
            println!("no cluster to judge: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, case) in case::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word)) {
            continue;
        }
        if let Some(cause) = case::lacks(name) {
            skipped += 1;
            println!("test {name} ... skipped: {cause}");
            continue;
        }
        let begun = clock::now().mono_ns;
        let said = case(&cluster);
        let took = (clock::now().mono_ns - begun) / SECOND;
        match said {
            Ok(()) => {
                passed += 1;
                println!("test {name} ... ok ({took} s)");
            }
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED ({took} s)\n{error}");
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {passed} passed; {failed} failed; {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
