//! A system call made by a thread of another process, by ptrace(2): what that thread may do, it alone can show.
#![cfg(target_arch = "x86_64")]
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;

use nix::libc::{self, c_long, c_void, pid_t, user_regs_struct};

/// Bytes below the stack that a function may use without saying so (System V ABI), and more.
const RED_ZONE: u64 = 512;

/// `openat(path, O_CREAT | O_WRONLY)` by the thread `tid` of another process: the descriptor, or the negative errno.
/// The thread must be waiting in a system call.
pub fn creates(tid: pid_t, path: &str) -> io::Result<i64> {
    ask(libc::PTRACE_SEIZE, tid, 0, 0)?;
    let outcome = stopped(tid, path);
    ask(libc::PTRACE_DETACH, tid, 0, 0)?;
    outcome
}

fn stopped(tid: pid_t, path: &str) -> io::Result<i64> {
    ask(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
    wait(tid)?;
    let kept = registers(tid)?;
    let text = (kept.rsp - RED_ZONE - path.len() as u64) & !15;
    let mut words: Vec<u8> = path.bytes().collect();
    words.resize(path.len() / 8 * 8 + 8, 0);
    for (n, word) in words.chunks_exact(8).enumerate() {
        let word = u64::from_ne_bytes(word.try_into().expect("eight bytes"));
        ask(libc::PTRACE_POKEDATA, tid, text + n as u64 * 8, word)?;
    }
    // It waits behind the two bytes of its `syscall` instruction, which serves again. -1: there is nothing to restart.
    let call = user_regs_struct {
        rip: kept.rip - 2,
        orig_rax: u64::MAX,
        rax: libc::SYS_openat as u64,
        rdi: libc::AT_FDCWD as u64,
        rsi: text,
        rdx: (libc::O_CREAT | libc::O_WRONLY) as u64,
        r10: 0o600,
        ..kept
    };
    set_registers(tid, &call)?;
    ask(libc::PTRACE_SINGLESTEP, tid, 0, 0)?;
    wait(tid)?;
    let result = registers(tid)?.rax as i64;
    set_registers(tid, &kept)?;
    Ok(result)
}

fn ask(request: libc::c_uint, tid: pid_t, address: u64, data: u64) -> io::Result<c_long> {
    // SAFETY: none of the requests above and below but those with registers takes a pointer into this process, and those
    // are given one to a whole `user_regs_struct`.
    let result = unsafe { libc::ptrace(request, tid, address as *mut c_void, data as *mut c_void) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn registers(tid: pid_t) -> io::Result<user_regs_struct> {
    let mut registers = MaybeUninit::<user_regs_struct>::uninit();
    ask(libc::PTRACE_GETREGS, tid, 0, registers.as_mut_ptr() as u64)?;
    // SAFETY: the kernel has filled it.
    Ok(unsafe { registers.assume_init() })
}

fn set_registers(tid: pid_t, registers: &user_regs_struct) -> io::Result<c_long> {
    ask(libc::PTRACE_SETREGS, tid, 0, &raw const *registers as u64)
}

fn wait(tid: pid_t) -> io::Result<()> {
    let mut status = 0;
    // SAFETY: the status is an integer of ours.
    let waited = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) };
    if waited != tid || !libc::WIFSTOPPED(status) {
        return Err(io::Error::other(format!("thread {tid} did not stop: {status:#x}")));
    }
    Ok(())
}
