//! The pages of the program itself.

use std::ffi::{c_int, c_void};

use libc::{dl_phdr_info, size_t};

use super::usage::page_size;

/// Lets go of every page of the program's code and constants. They are pages of a file that nobody changed, so they stay in the
/// page cache; what runs next brings its own back, 64 KiB at a time, by a fault that waits for nothing: some 40 of them, 2 us
/// each, for an answer to a client. Where the kernel refuses, all stay.
pub fn let_go_of_code() {
    // SAFETY: the function is called for each loaded object while this call lasts, and keeps nothing.
    unsafe { libc::dl_iterate_phdr(Some(let_go_of_object), std::ptr::null_mut()) };
}

/// Called for the program first (dl_iterate_phdr(3)), and says that this was the last: shared libraries have other users.
extern "C" fn let_go_of_object(info: *mut dl_phdr_info, _size: size_t, _data: *mut c_void) -> c_int {
    // SAFETY: the loader gives a description of an object and its headers, both valid during this call.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    let page = page_size();
    for header in headers {
        // What can be written has pages that no file has.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = (base + header.p_vaddr) / page * page;
        let length = (base + header.p_vaddr + header.p_memsz).saturating_sub(begin) / page * page;
        // SAFETY: these pages were mapped from the file by the kernel, without leave to write: read again they are the same.
        // The last one is left out where the segment does not fill it.
        unsafe { libc::madvise(begin as *mut c_void, length as size_t, libc::MADV_DONTNEED) };
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of the program's code that this process has mapped.
    fn code_kib() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let mut is_code = false;
        let mut sum = 0;
        for line in maps.lines() {
            if line.contains(" r-xp ") {
                is_code = line.contains("section3-");
            }
            if let Some(rest) = line.strip_prefix("Rss:").filter(|_| is_code) {
                sum += rest.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
                is_code = false;
            }
        }
        sum
    }

    #[test]
    fn it_goes_on_with_fewer_pages() {
        let before = code_kib();
        let_go_of_code();
        let after = code_kib();
        assert!(before > 0 && after < before, "{before} KiB, then {after} KiB");
    }
}
