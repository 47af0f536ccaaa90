//! The program on disk: where it is, and whether it is still the one that was looked at.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::words;

/// What the kernel adds to the name of a file that was removed or replaced.
const GONE: &str = " (deleted)";

/// Where the program that runs was started from, as the kernel knows it: the name it was called by (`argv[0]`) is only what
/// somebody said. `None` without `/proc`.
#[must_use]
pub fn on_disk() -> Option<PathBuf> {
    let link = std::fs::read_link("/proc/self/exe").ok()?;
    Some(without_mark(link, &Path::exists))
}

fn without_mark(link: PathBuf, exists: &dyn Fn(&Path) -> bool) -> PathBuf {
    match link.to_str().and_then(|text| text.strip_suffix(GONE)) {
        Some(plain) if !exists(&link) => PathBuf::from(plain),
        _ => link,
    }
}

/// One version of a file: replaced or written to, it is another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Edition {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Looks at the file without opening it.
///
/// # Errors
///
/// Why it cannot be the program: absent, no file, not executable, or everybody can write to it.
pub fn edition(path: &Path) -> Result<Edition, String> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|error| format!("{shown}: {}", words::io(&error)))?;
    if !meta.is_file() {
        return Err(format!("{shown} is no regular file"));
    }
    if meta.mode() & 0o111 == 0 {
        return Err(format!("{shown} is not executable (mode {:04o}); chmod 0755 it", meta.mode() & 0o7777));
    }
    if meta.mode() & 0o002 != 0 {
        return Err(format!("{shown} can be written by everybody (mode {:04o}); chmod 0755 it", meta.mode() & 0o7777));
    }
    Ok(Edition { device: meta.dev(), inode: meta.ino(), size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_program_is_looked_for_under_its_own_name() {
        let there = |path: &Path| path == Path::new("/bin/odd (deleted)");
        for (link, expected) in [
            ("/bin/section3", "/bin/section3"),
            ("/bin/section3 (deleted)", "/bin/section3"),
            ("/bin/odd (deleted)", "/bin/odd (deleted)"),
        ] {
            assert_eq!(without_mark(link.into(), &there), Path::new(expected), "{link}");
        }
    }

    #[test]
    fn files_that_cannot_be_the_program() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("section3");
        assert!(edition(&path).unwrap_err().ends_with("no such file or directory"), "{:?}", edition(&path));
        assert!(edition(dir.path()).unwrap_err().ends_with("is no regular file"));
        fs::write(&path, "x").expect("write");
        for (mode, said) in [(0o644, "is not executable (mode 0644)"), (0o757, "can be written by everybody (mode 0757)")] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
            assert!(edition(&path).unwrap_err().contains(said), "{:?}", edition(&path));
        }
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("chmod");
        let first = edition(&path).expect("a program");
        assert_eq!(edition(&path), Ok(first));
        fs::rename(&path, dir.path().join("old")).expect("rename");
        fs::copy(dir.path().join("old"), &path).expect("copy");
        assert_ne!(edition(&path), Ok(first));
    }
}
