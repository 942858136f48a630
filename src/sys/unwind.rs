//! Stands in for libunwind in the static binary, where `panic = "abort"` unwinds nothing and the tables that unwinding
//! needs are left out (`build/no-unwind-tables.ld`). Walking the stack finds no frame, so the linker drops libunwind and
//! all that names frames: the standard library's reader of DWARF, its demangler, its inflater. Measured: 252,256 bytes.
//!
//! Lost is nothing that worked: a panic's message names file and line as before.
//!
//! The symbols are those of the Itanium C++ ABI for x86-64 and AArch64 that the prebuilt standard library asks for.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

macro_rules! absent {
    ($($name:ident($($argument:ty),*) -> $result:ty = $value:expr;)*) => {$(
        // SAFETY: the name is libunwind's, and libunwind is not linked where it is defined here (the linker takes a
        // library's object only for what is still missing); arguments and result are as its header declares them.
        #[unsafe(no_mangle)]
        extern "C" fn $name($(_: $argument),*) -> $result {
            $value
        }
    )*};
}

absent! {
    _Unwind_Backtrace(*const c_void, *mut c_void) -> c_int = END_OF_STACK;
    _Unwind_FindEnclosingFunction(*mut c_void) -> *mut c_void = std::ptr::null_mut();
    _Unwind_GetCFA(*mut c_void) -> usize = 0;
    _Unwind_GetIP(*mut c_void) -> usize = 0;
    _Unwind_GetIPInfo(*mut c_void, *mut c_int) -> usize = 0;
    _Unwind_GetDataRelBase(*mut c_void) -> usize = 0;
    _Unwind_GetTextRelBase(*mut c_void) -> usize = 0;
    _Unwind_GetRegionStart(*mut c_void) -> usize = 0;
    _Unwind_GetLanguageSpecificData(*mut c_void) -> *mut c_void = std::ptr::null_mut();
    _Unwind_SetGR(*mut c_void, c_int, usize) -> () = ();
    _Unwind_SetIP(*mut c_void, usize) -> () = ();
    _Unwind_Resume(*mut c_void) -> ! = std::process::abort();
}
