//! No backtraces in release builds for musl. Those are stripped, so a backtrace would be a list of bare addresses; but the code
//! that reads debugging information to name them comes with the standard library and is a tenth of the binary. It hangs on one
//! function of the unwinder, which is replaced here by one that finds no frames. A panic still unwinds, is caught where it is
//! to be caught, and says its message and its place in the source.
//!
//! The four functions stand for all of libunwind's `UnwindLevel1-gcc-ext.c` that is used. Should more of it be needed one day,
//! the link fails with a duplicate symbol.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`: there are no more frames.
const END_OF_STACK: c_int = 5;

unsafe extern "C" {
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

/// Calls nobody back.
// SAFETY: the name and the arguments are those of libunwind, whose own is not linked; it may end at any frame, also at none.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Where a frame is; `before` is whether it has not executed that instruction yet, which is so in the frame of a signal handler
/// alone: no panic passes one.
// SAFETY: the name and the arguments are those of libunwind, whose own is not linked.
#[unsafe(no_mangle)]
unsafe extern "C" fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize {
    // SAFETY: the personality routine gives a place of its own and the context that it was given.
    unsafe {
        *before = 0;
        _Unwind_GetIP(context)
    }
}

/// A base for pointers of a kind that no compiler makes here.
// SAFETY: the name and the arguments are those of libunwind, whose own is not linked and ends the process.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
    std::process::abort()
}

/// The same.
// SAFETY: as above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
    std::process::abort()
}
