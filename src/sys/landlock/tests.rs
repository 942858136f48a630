use super::*;
use std::fs;
use std::net::{TcpListener, TcpStream};

#[test]
fn a_thread_that_gave_up_writing_reads_and_nothing_else() {
    if version() < 4 {
        return;
    }
    let file = std::env::temp_dir().join(format!("netmon-landlock-{}", std::process::id()));
    fs::write(&file, b"before").expect("writable");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let denied = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::sys::prctl::set_no_new_privs().expect("allowed");
            give_up_writing(false).expect("offered");
            assert_eq!(fs::read(&file).expect("reading stays"), b"before");
            denied(fs::write(&file, b"after").expect_err("given up"));
            denied(fs::remove_file(&file).expect_err("given up"));
            denied(std::process::Command::new("/bin/true").status().expect_err("given up"));
            denied(TcpListener::bind("127.0.0.1:0").expect_err("given up"));
            denied(TcpStream::connect(address).expect_err("given up"));
        });
        scope.spawn(|| {
            nix::sys::prctl::set_no_new_privs().expect("allowed");
            give_up_writing(true).expect("offered");
            TcpStream::connect(address).expect("connecting stays");
        });
    });
    fs::write(&file, b"after").expect("other threads have given up nothing");
    fs::remove_file(&file).expect("nor this");
}
