//! C functions that linked libraries ask for and that this program never calls. They are defined here, in the static
//! binary, so that the linker does not take the libraries that have them.
//!
//! - libunwind, where `panic = "abort"` unwinds nothing and the tables that unwinding needs are left out
//!   (`build/no-unwind-tables.ld`). Walking the stack finds no frame, so all that names frames goes too: the standard
//!   library's reader of DWARF, its demangler, its inflater. Measured: 252 KB. Lost is nothing that worked: a panic's
//!   message names file and line as before. The symbols are those of the Itanium C++ ABI for x86-64 and AArch64.
//! - zlib, which libelf asks for compressed sections of an ELF file and libbpf for `/proc/config.gz`. Our programs'
//!   sections are not compressed and they ask for no kernel setting; either would now fail to load, with an error.
//!   Measured: 45 KB. (Pushes are compressed by miniz_oxide.)
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;

macro_rules! absent {
    ($($name:ident($($argument:ty),*) -> $result:ty = $value:expr;)*) => {$(
        // SAFETY: the name belongs to a library that is not linked where it is defined here. The linker takes a
        // library's object only for what is still missing. Arguments and result are as the library's header declares
        // them.
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> $result {
            $value
        }
    )*};
}

/// `_URC_END_OF_STACK`.
#[cfg(panic = "abort")]
const END_OF_STACK: c_int = 5;

#[cfg(panic = "abort")]
absent! {
    _Unwind_Backtrace(*const c_void, *mut c_void) -> c_int = END_OF_STACK;
    _Unwind_FindEnclosingFunction(*mut c_void) -> *mut c_void = null_mut();
    _Unwind_GetCFA(*mut c_void) -> usize = 0;
    _Unwind_GetIP(*mut c_void) -> usize = 0;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize = 0;
    _Unwind_GetDataRelBase(*mut c_void) -> usize = 0;
    _Unwind_GetTextRelBase(*mut c_void) -> usize = 0;
    _Unwind_GetRegionStart(*mut c_void) -> usize = 0;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> *mut c_void = null_mut();
    _Unwind_SetGR(*mut c_void, c_int, usize) -> () = ();
    _Unwind_SetIP(*mut c_void, usize) -> () = ();
    _Unwind_Resume(*mut c_void) -> ! = std::process::abort();
}

/// `Z_STREAM_ERROR`.
const STREAM_ERROR: c_int = -2;

absent! {
    deflateInit_(*mut c_void, c_int, *const c_char, c_int) -> c_int = STREAM_ERROR;
    deflate(*mut c_void, c_int) -> c_int = STREAM_ERROR;
    deflateReset(*mut c_void) -> c_int = STREAM_ERROR;
    deflateEnd(*mut c_void) -> c_int = STREAM_ERROR;
    inflateInit_(*mut c_void, *const c_char, c_int) -> c_int = STREAM_ERROR;
    inflate(*mut c_void, c_int) -> c_int = STREAM_ERROR;
    inflateReset(*mut c_void) -> c_int = STREAM_ERROR;
    inflateEnd(*mut c_void) -> c_int = STREAM_ERROR;
    gzopen(*const c_char, *const c_char) -> *mut c_void = null_mut();
    gzgets(*mut c_void, *mut c_char, c_int) -> *mut c_char = null_mut();
    gzclose(*mut c_void) -> c_int = STREAM_ERROR;
}
