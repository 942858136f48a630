//! Starting other programs so that they end with the test, whatever ends it.
//!
//! The test binary is its own launcher: `lab @exec PROGRAM ARGS…` asks the kernel to be killed when its parent thread
//! ends, then becomes the program.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

/// Where a started process is put, beside the network namespace that the calling thread is in.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Directory of a cgroup, for sources that count by cgroup.
    pub cgroup: Option<std::path::PathBuf>,
}

/// `program`, to be started in the caller's network namespace and in `place`, ending with the calling thread.
pub fn command(program: &str, place: &Place) -> Command {
    let own = std::env::current_exe().expect("the test binary is a file");
    let mut command = Command::new(own);
    command.arg("@exec").arg(place.cgroup.as_deref().unwrap_or(std::path::Path::new("-"))).arg(program);
    command
}

/// The helper side of [`command`]: never returns.
pub fn exec(mut args: std::env::Args) -> ! {
    set_pdeathsig(Signal::SIGKILL).expect("prctl(PR_SET_PDEATHSIG)");
    let cgroup = args.next().expect("@exec CGROUP PROGRAM ARGS");
    if cgroup != "-" {
        std::fs::write(format!("{cgroup}/cgroup.procs"), "0").expect("joining a cgroup that the test made");
    }
    let program = args.next().expect("@exec CGROUP PROGRAM ARGS");
    let error = if program == "@actor" {
        crate::actor::run();
        std::process::exit(0);
    } else {
        Command::new(&program).args(args).exec()
    };
    eprintln!("cannot start {program}: {error}");
    std::process::exit(127);
}
