//! The text of a script: where it comes from, and who may have written it.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::words;

/// The longest text of one file.
const MAX_TEXT: u64 = 1 << 20;

/// Where the files of a script are.
#[derive(Clone, Debug)]
pub enum Folder {
    /// On disk.
    Disk(PathBuf),
    /// In the binary: paths and texts of a plugin.
    Binary(&'static [(&'static str, &'static str)]),
}

/// One text to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What messages call it: the file's name below the script's folder.
    pub name: String,
    /// The text.
    pub text: Vec<u8>,
}

impl Folder {
    /// The file of this name in the folder.
    ///
    /// # Errors
    ///
    /// Why it cannot be used, with its path.
    pub fn read(&self, name: &str) -> Result<Source, String> {
        let text = match self {
            Self::Disk(folder) => read(&folder.join(name))?,
            Self::Binary(files) => {
                let found = files.iter().find(|(path, _)| *path == name);
                found.ok_or_else(|| format!("there is no {name} in this plugin"))?.1.as_bytes().to_vec()
            }
        };
        Ok(Source { name: name.to_owned(), text })
    }

    /// The file of a module: `a.b` is `a/b.lua`. No name leads out of the folder, also not over a link.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn module(&self, name: &str) -> Result<Source, String> {
        let is_word = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        if !name.split('.').all(is_word) {
            return Err(format!("cannot require `{name}`: a module is a file beside this one, named like `lib` or `lib.part`"));
        }
        let file = format!("{}.lua", name.replace('.', "/"));
        if let Self::Disk(folder) = self {
            let real = |path: &Path| path.canonicalize();
            let outside = match (real(folder), real(&folder.join(&file))) {
                (Ok(folder), Ok(path)) => !path.starts_with(folder),
                _ => false,
            };
            if outside {
                return Err(format!("cannot require `{name}`: {file} is a link that leads out of {}", folder.display()));
            }
        }
        self.read(&file).map_err(|reason| format!("cannot require `{name}`: {reason}"))
    }
}

/// The text of a file that only root and our own user can have written.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let told = |what: &str, error: &std::io::Error| format!("cannot {what} {}: {}", path.display(), words::io(error));
    // A pipe of that name would hold us up.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(|error| told("open", &error))?;
    let facts = file.metadata().map_err(|error| told("look at", &error))?;
    if let Some(reason) = distrust(&facts, nix::unistd::geteuid().as_raw()) {
        return Err(format!("{} {reason}", path.display()));
    }
    let mut text = Vec::new();
    File::take(file, MAX_TEXT + 1).read_to_end(&mut text).map_err(|error| told("read", &error))?;
    if text.len() as u64 > MAX_TEXT {
        return Err(format!("{} is longer than {} MiB", path.display(), MAX_TEXT >> 20));
    }
    if text.first() == Some(&0x1b) {
        return Err(format!("{} is bytecode; a script is text", path.display()));
    }
    Ok(text)
}

fn distrust(facts: &Metadata, own: u32) -> Option<String> {
    if !facts.is_file() {
        return Some("is not a regular file".to_owned());
    }
    if facts.uid() != 0 && facts.uid() != own {
        return Some(format!("belongs to user {}; it must belong to root or to user {own}", facts.uid()));
    }
    if facts.mode() & 0o022 != 0 {
        return Some(format!("can be written by others (mode {:04o}); run `chmod go-w` on it", facts.mode() & 0o7777));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("hooks");
        fs::create_dir_all(inside.join("lib")).unwrap();
        for (name, text) in [("hooks/a.lua", "return 1"), ("hooks/lib/b.lua", "return 2"), ("c.lua", "return 3")] {
            fs::write(dir.path().join(name), text).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
        let folder = Folder::Disk(inside);
        (dir, folder)
    }

    #[test]
    fn modules_are_files_of_the_folder() {
        let (_dir, folder) = folder();
        assert_eq!(folder.module("a").unwrap().text, b"return 1");
        assert_eq!(folder.module("lib.b").unwrap(), Source { name: "lib/b.lua".to_owned(), text: b"return 2".to_vec() });
        let binary = Folder::Binary(&[("init.lua", "return 4")]);
        assert_eq!(binary.module("init").unwrap().text, b"return 4");
        assert!(binary.module("a").is_err());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let (dir, folder) = folder();
        symlink(dir.path().join("c.lua"), dir.path().join("hooks/link.lua")).unwrap();
        for name in ["../c", "..c", "/etc/passwd", "a/../../c", "", ".", "a.", "lib..b", "c\0", "link", "lib/b"] {
            assert!(folder.module(name).unwrap_err().starts_with("cannot require"), "{name:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let (dir, folder) = folder();
        for (mode, word) in [(0o666, "mode 0666"), (0o664, "mode 0664"), (0o646, "mode 0646")] {
            fs::set_permissions(dir.path().join("hooks/a.lua"), fs::Permissions::from_mode(mode)).unwrap();
            assert!(folder.read("a.lua").unwrap_err().contains(word));
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let (dir, folder) = folder();
        let path = dir.path().join("hooks/a.lua");
        // Where we may not give it away, we are the other user.
        let told = match std::os::unix::fs::chown(&path, Some(12_345), None) {
            Ok(()) => folder.read("a.lua").unwrap_err(),
            Err(_) => format!("{} {}", path.display(), distrust(&fs::metadata(&path).unwrap(), 12_345).unwrap()),
        };
        assert!(told.contains("belongs to user"), "{told}");
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let (dir, folder) = folder();
        fs::write(dir.path().join("hooks/a.lua"), b"\x1bLua").unwrap();
        nix::unistd::mkfifo(&dir.path().join("hooks/pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(dir.path().join("hooks/long"), vec![b' '; 1 + (1 << 20)]).unwrap();
        fs::set_permissions(dir.path().join("hooks/long"), fs::Permissions::from_mode(0o600)).unwrap();
        for (name, word) in [
            ("a.lua", "bytecode"),
            ("lib", "not a regular file"),
            ("pipe", "not a regular file"),
            ("long", "longer"),
            ("x", "no such file"),
        ] {
            let reason = folder.read(name).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }
}
