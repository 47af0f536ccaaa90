//! Whether bytes begin a program that this machine can run, see `elf(5)`. Pure.

/// How much of a file is looked at.
pub const HEAD: usize = 64;

const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
/// `ET_EXEC` and `ET_DYN`: a static program is either, depending on whether it can be loaded anywhere.
const KINDS: [u16; 2] = [2, 3];

/// `e_machine` of a target.
fn machine(target: &str) -> Option<u16> {
    match target {
        "linux-amd64" => Some(62),
        "linux-arm64" => Some(183),
        _ => None,
    }
}

/// Looks at the first [`HEAD`] bytes of a file (fewer if it has fewer).
///
/// # Errors
///
/// What it is instead of a program for this target.
pub fn check(head: &[u8], target: &str) -> Result<(), String> {
    let Some(head) = head.first_chunk::<HEAD>() else { return Err(format!("it has only {} bytes", head.len())) };
    let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    if head[..4] != *b"\x7fELF" {
        return Err("it is no ELF program".to_owned());
    }
    if head[4] != CLASS_64 || head[5] != LITTLE_ENDIAN || !KINDS.contains(&half(16)) {
        return Err("it is an ELF file, but no 64-bit little-endian program".to_owned());
    }
    if Some(half(18)) != machine(target) {
        return Err(format!("it is a program for another machine (ELF machine {}), not for {target}", half(18)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(kind: u16, machine: u16) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[16..18].copy_from_slice(&kind.to_le_bytes());
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head
    }

    #[test]
    fn heads() {
        for kind in KINDS {
            assert_eq!(check(&head(kind, 62), "linux-amd64"), Ok(()));
            assert_eq!(check(&head(kind, 183), "linux-arm64"), Ok(()));
        }
        let mut small = head(2, 62);
        small[4] = 1;
        for (bytes, part) in [
            (b"".to_vec(), "only 0 bytes"),
            (b"#!/bin/sh\nexit 0\n".to_vec(), "only 17 bytes"),
            (vec![b'x'; 100], "no ELF program"),
            (head(2, 62)[..63].to_vec(), "only 63 bytes"),
            (head(1, 62), "no 64-bit little-endian program"),
            (head(4, 62), "no 64-bit little-endian program"),
            (small, "no 64-bit little-endian program"),
            (head(2, 183), "another machine (ELF machine 183), not for linux-amd64"),
        ] {
            assert!(check(&bytes, "linux-amd64").is_err_and(|said| said.contains(part)), "{part}");
        }
    }
}
