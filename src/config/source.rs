//! The bytes of the config file: one descriptor, one bounded read.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// No config is larger; the time and memory of the parser grow with it.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the file.
///
/// # Errors
///
/// What is wrong with the file and what to do about it, without its name.
pub fn read(path: &Path) -> Result<String, String> {
    // Without O_NONBLOCK the open of a FIFO waits for a writer, for ever.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| unopened(&e))?;
    let found = file.metadata().map_err(|e| format!("cannot be examined: {e}"))?;
    if !found.is_file() {
        let kind = if found.is_dir() { "a folder" } else { "no regular file" };
        return Err(format!("found {kind}; a config is a regular file"));
    }
    if let Some(refusal) = writable_by_strangers(found.mode(), nix::unistd::geteuid().is_root()) {
        return Err(refusal);
    }
    let bytes = beginning(&mut file).map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(format!("found {} bytes; a config has at most {MAX_SIZE}", found.len().max(bytes.len() as u64)));
    }
    String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("line {line} is not UTF-8; save the file as UTF-8")
    })
}

/// All of a file that is none too large, and a byte too much of any other: it may grow after its size was read.
fn beginning(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a manifest.
///
/// # Errors
///
/// As of [`read`], in words that fit any file.
pub fn read_small(path: &Path) -> Result<String, String> {
    if !path.is_file() {
        return Err("no such file; a plugin is a folder with a `plugin.yml` and an `init.lua`".to_owned());
    }
    read(path)
}

/// Looks at a script or a folder of scripts without reading it: whoever can write it runs code as us.
///
/// # Errors
///
/// That it is not there, is nothing of the kind, or that others than root and our uid could have written it.
pub fn examine(path: &Path, kind: Kind) -> Result<(), String> {
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => format!("no such {}: {}", kind.noun(), path.display()),
        _ => format!("{} cannot be examined: {}", path.display(), crate::sys::words::io(&error)),
    })?;
    let is_right = match kind {
        Kind::File => found.is_file(),
        Kind::Folder => found.is_dir(),
    };
    if !is_right {
        return Err(format!("{} is no {}", path.display(), kind.noun()));
    }
    let own = nix::unistd::geteuid().as_raw();
    open_to_others(found.uid(), found.mode(), own).map_or(Ok(()), |why| Err(format!("{} {why}", path.display())))
}

/// Who else than root and our uid can write a config that is read all the same, for a warning: a refusal would break mounts of
/// files that belong to a user of the host. Nothing where the file cannot be looked at.
#[must_use]
pub fn exposure(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok()?;
    let own = nix::unistd::geteuid().as_raw();
    let writers = writers(found.uid(), found.mode(), own)?;
    Some(format!("{} {writers}: whoever can write it can run anything as uid {own}", path.display()))
}

fn writers(owner: u32, mode: u32, own: u32) -> Option<String> {
    if mode & 0o022 != 0 {
        return Some(format!("can be written by others than its owner (mode {:04o})", mode & 0o7777));
    }
    (owner != 0 && owner != own).then(|| format!("belongs to uid {owner}"))
}

/// What is expected at a path.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
}

impl Kind {
    const fn noun(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
        }
    }
}

/// Who else could have written it, and what to do about it.
fn open_to_others(owner: u32, mode: u32, own: u32) -> Option<String> {
    if owner != 0 && owner != own {
        return Some(format!("belongs to uid {owner}; only root and uid {own} may own what runs here; run `chown {own}` on it"));
    }
    let mode = mode & 0o7777;
    (mode & 0o022 != 0).then(|| format!("has mode {mode:04o}, others can write it; run `chmod go-w` on it"))
}

fn unopened(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => {
            "no such file; write a first one with `section3 init`, or name another with --config or SECTION3_CONFIG".to_owned()
        }
        ErrorKind::PermissionDenied => "cannot be opened: permission denied; run as its owner or change its mode".to_owned(),
        _ => format!("cannot be opened: {error}"),
    }
}

/// Whoever writes the config runs commands as us: for root that must not be everybody.
fn writable_by_strangers(mode: u32, root: bool) -> Option<String> {
    (root && mode & 0o002 != 0).then(|| {
        format!("found mode {:04o}; root does not run a config that everybody can write; run `chmod o-w` on it", mode & 0o7777)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_config() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("fifo");
        std::fs::File::create(at("huge")).and_then(|f| f.set_len(50 << 20)).expect("sparse file");
        std::fs::File::create(at("over")).and_then(|f| f.set_len(MAX_SIZE + 1)).expect("file");
        std::fs::write(at("latin"), b"a: 1\nb: \xe9\n").expect("file");
        std::os::unix::fs::symlink(at("loop"), at("loop")).expect("link");
        for (name, message) in [
            ("fifo", "found no regular file"),
            ("huge", "found 52428800 bytes; a config has at most 1048576"),
            ("over", "found 1048577 bytes"),
            ("latin", "line 2 is not UTF-8"),
            ("missing", "no such file; write a first one with `section3 init`"),
            ("loop", "cannot be opened"),
            (".", "found a folder"),
        ] {
            let said = read(&at(name)).expect_err(name);
            assert!(said.starts_with(message), "{name}: {said}");
        }
        assert!(read(Path::new("/dev/zero")).is_err_and(|said| said.starts_with("found no regular file")));
    }

    #[test]
    fn no_more_is_read_than_is_needed_to_refuse_it() {
        assert_eq!(beginning(std::io::repeat(0).take(4 * MAX_SIZE)).expect("bytes").len() as u64, MAX_SIZE + 1);
    }

    #[test]
    fn files_that_are_read() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("empty"), "").expect("file");
        std::fs::write(at("full"), vec![b' '; MAX_SIZE as usize]).expect("file");
        std::os::unix::fs::symlink(at("full"), at("link")).expect("link");
        for (name, len) in [("empty", 0), ("full", MAX_SIZE as usize), ("link", MAX_SIZE as usize)] {
            assert_eq!(read(&at(name)).map(|text| text.len()), Ok(len), "{name}");
        }
    }

    #[test]
    fn what_others_could_have_written_is_refused() {
        for (owner, mode, own, refused) in [
            (0, 0o100_644, 1000, None),
            (1000, 0o100_600, 1000, None),
            (0, 0o100_755, 0, None),
            (1000, 0o100_644, 0, Some("belongs to uid 1000")),
            (7, 0o100_644, 1000, Some("belongs to uid 7")),
            (0, 0o100_664, 0, Some("has mode 0664, others can write it; run `chmod go-w` on it")),
            (0, 0o100_646, 0, Some("has mode 0646")),
            (0, 0o041_777, 0, Some("has mode 1777")),
        ] {
            let said = open_to_others(owner, mode, own);
            assert_eq!(said.is_some(), refused.is_some(), "{owner} {mode:o} {own}: {said:?}");
            assert!(said.unwrap_or_default().starts_with(refused.unwrap_or_default()), "{owner} {mode:o} {own}");
        }
    }

    #[test]
    fn who_else_can_write_is_known() {
        for (owner, mode, own, said) in [
            (0, 0o100_644, 1000, None),
            (1000, 0o100_600, 1000, None),
            (1000, 0o100_644, 0, Some("belongs to uid 1000")),
            (0, 0o100_664, 0, Some("can be written by others than its owner (mode 0664)")),
        ] {
            assert_eq!(writers(owner, mode, own).as_deref(), said, "{owner} {mode:o} {own}");
        }
        assert_eq!(exposure(Path::new("/nonexistent")), None);
    }

    #[test]
    fn only_root_minds_who_can_write() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("open");
        std::fs::write(&path, "").expect("file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("mode");
        assert_eq!(read(&path).is_err(), nix::unistd::geteuid().is_root());
        for (mode, root, refused) in
            [(0o100_666, true, true), (0o100_666, false, false), (0o100_664, true, false), (0o100_644, true, false)]
        {
            assert_eq!(writable_by_strangers(mode, root).is_some(), refused, "{mode:o} {root}");
        }
    }
}
