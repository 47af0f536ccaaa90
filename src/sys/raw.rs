//! System calls without the C library, for the moments between `clone` and `execve`.
//!
//! The child of a launch shares its parent's memory, thread-local storage included: a libc wrapper that fails would write
//! the parent's `errno` while the parent runs. These return the error instead and touch nothing.

use std::arch::asm;

/// The negated errno of the kernel, as a positive number.
pub type Errno = i32;

/// One system call with up to five arguments.
///
/// # Safety
///
/// As for the call itself: every pointer among the arguments must be good for what the kernel does with it.
#[cfg(target_arch = "x86_64")]
pub unsafe fn syscall(number: libc::c_long, args: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = args;
    let result: isize;
    // SAFETY: the x86-64 system call convention; rcx and r11 are the only registers it clobbers.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    outcome(result)
}

/// One system call with up to five arguments.
///
/// # Safety
///
/// As for the call itself: every pointer among the arguments must be good for what the kernel does with it.
#[cfg(target_arch = "aarch64")]
pub unsafe fn syscall(number: libc::c_long, args: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = args;
    let result: isize;
    // SAFETY: the arm64 system call convention; x0 alone is changed.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            options(nostack),
        );
    }
    outcome(result)
}

/// The kernel's convention: -4095 to -1 is an error.
fn outcome(result: isize) -> Result<usize, Errno> {
    if (-4095..0).contains(&result) { Err(-result as Errno) } else { Ok(result as usize) }
}
