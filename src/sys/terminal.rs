//! The terminal: how large it is, keys without a line end, and giving it back as it was.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Mutex;

use nix::libc;

/// Enters the alternate screen and hides the cursor (xterm's control sequences, ECMA-48).
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
/// Resets attributes, shows the cursor and leaves the alternate screen.
const LEAVE: &[u8] = b"\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal as it was, while it is not.
static BEFORE: Mutex<Option<libc::termios>> = Mutex::new(None);

/// Columns and rows; `None` where it is no terminal, or does not know.
pub fn size(terminal: BorrowedFd<'_>) -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, which outlives the call (ioctl_tty(2)).
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0 && size.ws_row > 0).then(|| (size.ws_col.into(), size.ws_row.into()))
}

/// A terminal that is ours until it is dropped. A panic gives it back too.
#[derive(Debug)]
pub struct Screen(());

impl Screen {
    /// Takes the terminal on the standard input and output: keys come at once and are not shown, signals stay.
    ///
    /// # Errors
    /// When one of them is no terminal.
    pub fn take() -> io::Result<Screen> {
        // SAFETY: a zeroed termios is a valid one: it has integers only.
        #[allow(unsafe_code)]
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: tcgetattr writes one termios, which outlives the call.
        #[allow(unsafe_code)]
        let result = unsafe { libc::tcgetattr(libc::STDIN_FILENO, &raw mut settings) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        *BEFORE.lock().unwrap_or_else(|p| p.into_inner()) = Some(settings);
        settings.c_lflag &= !(libc::ICANON | libc::ECHO);
        // Suspended, the shell would get the terminal as we hold it.
        settings.c_cc[libc::VSUSP] = 0;
        settings.c_cc[libc::VMIN] = 1;
        settings.c_cc[libc::VTIME] = 0;
        set(&settings)?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
        io::stdout().write_all(ENTER)?;
        io::stdout().flush()?;
        Ok(Screen(()))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let before = BEFORE.lock().unwrap_or_else(|p| p.into_inner()).take();
    if let Some(before) = before {
        // A terminal that is gone cannot be given back.
        let _ = io::stdout().write_all(LEAVE).and_then(|()| io::stdout().flush());
        let _ = set(&before);
    }
}

fn set(settings: &libc::termios) -> io::Result<()> {
    // SAFETY: tcsetattr reads one termios, which outlives the call.
    #[allow(unsafe_code)]
    let result = unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSAFLUSH, settings) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
